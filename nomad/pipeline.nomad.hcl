# The pipeline of one use case on a schedule: a periodic job that runs what is missing.
#
# `penstock register USECASE` registers it. Each launch is for the logical date that its id names
# (periodic-<time of the tick>), not for the time at which it happens to start.

variable "prefix" {
  description = "First word of the job's id; another one keeps two environments of one cluster apart."
  type        = string
  default     = "penstock"
}

variable "usecase" {
  description = "A folder below usecases/, such as flights."
  type        = string
}

variable "crons" {
  description = "When it runs, in UTC."
  type        = list(string)
  default     = ["30 5 * * *"]
}

variable "catch_up" {
  description = "Dates that a launch looks back, the one that is due included: what was missed is made up for, oldest first."
  type        = number
  default     = 7
}

variable "lag" {
  description = "How long after its end the data of a day are complete, such as 2d; empty if they are at once."
  type        = string
  default     = ""
}

variable "deadline" {
  description = "End the run of one date after this long, such as 3h, so that one that hangs cannot hold up the next."
  type        = string
  default     = "3h"
}

variable "nomad_addr" {
  description = "Address of the cluster that the pipeline dispatches to (NOMAD_ADDR), as seen from its nodes."
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
  description = "1 to 100; above that of the work, or waiting work could keep its own pipeline out."
  type        = number
  default     = 60
}

variable "cpu" {
  description = "MHz for the pipeline itself, which only waits."
  type        = number
  default     = 300
}

variable "memory_mb" {
  description = "MiB for the pipeline itself."
  type        = number
  default     = 512
}

variable "consul" {
  description = "Whether the pipeline gets a Consul token by its workload identity, to publish heads."
  type        = bool
  default     = false
}

variable "vault" {
  description = "Whether secrets come from Vault, by the workload identity of the task."
  type        = bool
  default     = false
}

variable "vault_role" {
  description = "The role of Vault's JWT auth method that the task logs in with."
  type        = string
  default     = "penstock-pipeline"
}

variable "vault_store" {
  description = "Path of the store's credentials in Vault (KV version 2)."
  type        = string
  default     = "secret/data/penstock/store"
}

locals {
  places = var.vault ? { PENSTOCK_STORE_SECRET = "file:${NOMAD_SECRETS_DIR}/store.json" } : {}
  args = concat(
    ["-m", "penstock", "schedule", var.usecase, "--once"],
    ["--deadline", var.deadline, "--catch-up", format("%d", var.catch_up)],
    var.lag == "" ? [] : ["--lag", var.lag],
  )
}

job "penstock-pipeline" {
  id          = "${var.prefix}-pipeline-${var.usecase}"
  name        = "${var.prefix}-pipeline-${var.usecase}"
  type        = "batch"
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = var.priority

  periodic {
    crons            = var.crons
    time_zone        = "UTC"
    prohibit_overlap = true
  }

  group "pipeline" {
    # Unlike the work, the pipeline may start again: it finds the jobs that run, and what is made
    # stays made.
    restart {
      attempts = 2
      interval = "24h"
      delay    = "30s"
      mode     = "fail"
    }

    reschedule {
      attempts       = 1
      interval       = "24h"
      delay          = "1m"
      delay_function = "constant"
      unlimited      = false
    }

    ephemeral_disk {
      size = 300
    }

    task "pipeline" {
      driver = var.driver
      # On SIGTERM the pipeline leaves its jobs running; the next launch takes them up.
      kill_signal  = "SIGTERM"
      kill_timeout = "20s"

      # NOMAD_TOKEN: what this token may do is the policy nomad/policies/nomad/pipeline.hcl.
      identity {
        env = true
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
        NOMAD_ADDR            = var.nomad_addr
        PENSTOCK_STORE        = var.store
        PENSTOCK_ENVIRONMENT  = var.environment
        PENSTOCK_NOMAD_PREFIX = var.prefix
        PENSTOCK_VAR          = "${NOMAD_TASK_DIR}/var"
        PENSTOCK_WHO          = "${var.prefix}-pipeline-${var.usecase}"
        PYTHONUNBUFFERED      = "1"
      }, local.places, var.env)

      dynamic "consul" {
        for_each = var.consul ? ["heads"] : []
        content {}
      }

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
        cpu    = var.cpu
        memory = var.memory_mb
      }

      logs {
        max_files     = 5
        max_file_size = 10
      }
    }
  }
}
