# One kind of work in one size: a parameterized job, which a pipeline dispatches once per attempt.
#
# `penstock register` registers it for every kind and size. By hand:
#   nomad job run -var kind=train -var size=m -var image=registry.example/penstock:1.2.0 \
#     -var store=s3://models/team -var environment=staging nomad/job.nomad.hcl

variable "prefix" {
  description = "First word of the job's id; another one keeps two environments of one cluster apart."
  type        = string
  default     = "penstock"
}

variable "kind" {
  description = "The kind of work: a module in jobs/, such as train."
  type        = string
}

variable "size" {
  description = "What it may take: s, m, l, xl or gpu."
  type        = string
}

variable "driver" {
  description = "docker on a cluster; raw_exec runs the program of a checkout, for development."
  type        = string
  default     = "docker"
}

variable "image" {
  description = "The container image, with its tag or digest (driver docker)."
  type        = string
  default     = ""
}

variable "command" {
  description = "Path of the Python that has penstock installed (driver raw_exec)."
  type        = string
  default     = ""
}

variable "workdir" {
  description = "Absolute path of the checkout (driver raw_exec)."
  type        = string
  default     = ""
}

variable "store" {
  description = "URL of the artifact store (PENSTOCK_STORE)."
  type        = string
}

variable "environment" {
  description = "Root inside the store (PENSTOCK_ENVIRONMENT)."
  type        = string
}

variable "env" {
  description = "Further variables of the work, such as AWS_ENDPOINT_URL. Never secrets: job specifications can be read."
  type        = map(string)
  default     = {}
}

variable "datacenters" {
  description = "Where it may run."
  type        = list(string)
  default     = ["*"]
}

variable "node_pool" {
  description = "The pool of nodes that it may run on."
  type        = string
  default     = "default"
}

variable "priority" {
  description = "1 to 100; who is placed first where there is not room for all."
  type        = number
  default     = 50
}

variable "cpu_mhz" {
  description = "MHz of a node that count as one processor of a size."
  type        = number
  default     = 1000
}

variable "disk_mb" {
  description = "MiB of disk for inputs, output and logs."
  type        = number
  default     = 2048
}

variable "kill_timeout" {
  description = "From SIGTERM to SIGKILL; the nodes' max_kill_timeout (30s unless set) caps it."
  type        = string
  default     = "10s"
}

variable "vault" {
  description = "Whether secrets come from Vault, by the workload identity of the task."
  type        = bool
  default     = false
}

variable "vault_role" {
  description = "The role of Vault's JWT auth method that the task logs in with."
  type        = string
  default     = "penstock-job"
}

variable "vault_store" {
  description = "Path of the store's credentials in Vault (KV version 2)."
  type        = string
  default     = "secret/data/penstock/store"
}

locals {
  places = var.vault ? { PENSTOCK_STORE_SECRET = "file:${NOMAD_SECRETS_DIR}/store.json" } : {}
  # The numbers of pipelines/runners/sizes.py: a job that ran out of memory climbs this ladder.
  sizes = {
    s   = { cpus = 1, memory = 1024, gpus = 0 }
    m   = { cpus = 1, memory = 4096, gpus = 0 }
    l   = { cpus = 2, memory = 8192, gpus = 0 }
    xl  = { cpus = 4, memory = 16384, gpus = 0 }
    gpu = { cpus = 4, memory = 16384, gpus = 1 }
  }
  size = local.sizes[var.size]
  # What the task finds where: the payload says which attempt record to read.
  args = ["-m", "jobs", "--payload", "${NOMAD_TASK_DIR}/dispatch.json"]
}

job "penstock" {
  id          = "${var.prefix}-${var.kind}-${var.size}"
  name        = "${var.prefix}-${var.kind}-${var.size}"
  type        = "batch"
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = var.priority

  parameterized {
    payload       = "required"
    meta_required = ["artifact_key", "attempt", "run_id"]
    meta_optional = ["step"]
  }

  group "job" {
    # The pipeline retries, by the kind of the failure. With the defaults of Nomad, a training that
    # fails would run eight times before anybody heard of it.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    ephemeral_disk {
      size = var.disk_mb
    }

    task "job" {
      driver       = var.driver
      kill_signal  = "SIGTERM"
      kill_timeout = var.kill_timeout

      dispatch_payload {
        file = "dispatch.json"
      }

      dynamic "config" {
        for_each = var.driver == "docker" ? ["docker"] : []
        content {
          image      = var.image
          entrypoint = ["tini", "--", "python"]
          args       = local.args
        }
      }

      dynamic "config" {
        for_each = var.driver == "docker" ? [] : ["program"]
        content {
          command  = var.command
          args     = local.args
          work_dir = var.workdir
        }
      }

      env = merge({
        PENSTOCK_STORE       = var.store
        PENSTOCK_ENVIRONMENT = var.environment
        PENSTOCK_VAR         = "${NOMAD_TASK_DIR}/var"
        PYTHONUNBUFFERED     = "1"
        PYTHONFAULTHANDLER   = "1"
        OPENBLAS_NUM_THREADS = "1"
      }, local.places, var.env)

      dynamic "vault" {
        for_each = var.vault ? ["secrets"] : []
        content {
          role = var.vault_role
          # The task gets the secrets below and no token. It reads the files at every use, so that
          # a rotated secret needs no restart.
          env          = false
          disable_file = true
          change_mode  = "noop"
        }
      }

      dynamic "template" {
        for_each = var.vault ? [var.vault_store] : []
        content {
          destination = "${NOMAD_SECRETS_DIR}/store.json"
          change_mode = "noop"
          data        = "{{ with secret \"${template.value}\" }}{{ .Data.data | toJSON }}{{ end }}"
        }
      }

      resources {
        cpu    = local.size.cpus * var.cpu_mhz
        memory = local.size.memory

        dynamic "device" {
          for_each = local.size.gpus > 0 ? ["nvidia/gpu"] : []
          labels   = [device.value]
          content {
            count = local.size.gpus
          }
        }
      }

      # Logs of a node go before long; the pipeline keeps the tail beside the attempt.
      logs {
        max_files     = 2
        max_file_size = 10
      }
    }
  }
}
