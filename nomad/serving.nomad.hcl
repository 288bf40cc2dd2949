# A serving service: what is live at some aliases, answered over HTTP on a dynamic port.
#
# `penstock deploy` registers it and follows the deployment. A new version starts as a canary beside
# the running instances. If it does not become healthy, the first sign of it reverts the job.

variable "prefix" {
  description = "First word of the job's id; another one keeps two environments of one cluster apart."
  type        = string
  default     = "penstock"
}

variable "service" {
  description = "The second word of the job's id and of the service's name; one for each set of aliases."
  type        = string
  default     = "serving"
}

variable "models" {
  description = "The aliases that it serves, such as flights@champion."
  type        = list(string)
}

variable "count" {
  description = "Instances of the service."
  type        = number
  default     = 2
}

variable "canary" {
  description = "Instances of a new version that run beside the old ones until it is promoted."
  type        = number
  default     = 1
}

variable "auto_promote" {
  description = "Whether healthy canaries are promoted at once, without `penstock deploy --promote`."
  type        = bool
  default     = false
}

variable "min_healthy_time" {
  description = "How long all checks must pass before an instance counts as healthy."
  type        = string
  default     = "15s"
}

variable "healthy_deadline" {
  description = "How long a new instance has to become healthy: it fetches, verifies, loads and warms up its models."
  type        = string
  default     = "5m"
}

variable "progress_deadline" {
  description = "0s: the first instance that is not healthy fails the deployment. Otherwise how long a deployment may stand still while failed instances are tried elsewhere; more than healthy_deadline."
  type        = string
  default     = "0s"
}

variable "provider" {
  description = "Where the service is registered: consul or nomad."
  type        = string
  default     = "consul"
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
  description = "1 to 100; above batch work."
  type        = number
  default     = 80
}

variable "cpu" {
  description = "MHz of one instance: gateway, supervisor and workers together."
  type        = number
  default     = 2000
}

variable "memory_mb" {
  description = "MiB of one instance. A reload holds two generations of workers."
  type        = number
  default     = 2048
}

variable "disk_mb" {
  description = "MiB of disk for the models fetched and for logs."
  type        = number
  default     = 2048
}

variable "workers" {
  description = "Worker processes for each model (PENSTOCK_SERVING_WORKERS)."
  type        = number
  default     = 2
}

variable "allow_public" {
  description = "Whether other machines may reach the port, which a container needs; asks for tokens (PENSTOCK_SERVING_ALLOW_PUBLIC)."
  type        = bool
  default     = false
}

variable "shutdown_delay" {
  description = "From leaving the service catalogue to SIGTERM, in which clients learn of it."
  type        = string
  default     = "5s"
}

variable "drain_timeout" {
  description = "Seconds in which requests may finish after SIGTERM. SIGKILL follows 5 seconds later, which must not be after the nodes' max_kill_timeout (30s unless set)."
  type        = number
  default     = 20
}

variable "consul" {
  description = "Whether the service gets a Consul token by its workload identity, to watch heads."
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
  default     = "penstock-serving"
}

variable "vault_store" {
  description = "Path of the store's credentials in Vault (KV version 2); empty for none."
  type        = string
  default     = "secret/data/penstock/store"
}

variable "vault_tokens" {
  description = "Path of the tokens of the endpoint's clients in Vault (KV version 2); empty for none."
  type        = string
  default     = ""
}

locals {
  # What Vault holds for it: the name of the file, and the path.
  secrets = {
    for name, path in { store = var.vault_store, tokens = var.vault_tokens } :
    name => path if var.vault && path != ""
  }
  settings = { store = "PENSTOCK_STORE_SECRET", tokens = "PENSTOCK_SERVING_TOKENS" }
  places = {
    for name, path in local.secrets :
    local.settings[name] => "file:${NOMAD_SECRETS_DIR}/${name}.json"
  }
  args = concat(["-m", "penstock", "serve"], var.models)
}

job "penstock-serving" {
  id          = "${var.prefix}-${var.service}"
  name        = "${var.prefix}-${var.service}"
  type        = "service"
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = var.priority

  group "serving" {
    count = var.count

    update {
      canary            = var.canary
      max_parallel      = 1
      auto_promote      = var.auto_promote
      auto_revert       = true
      health_check      = "checks"
      min_healthy_time  = var.min_healthy_time
      healthy_deadline  = var.healthy_deadline
      progress_deadline = var.progress_deadline
    }

    restart {
      attempts = 3
      interval = "5m"
      delay    = "10s"
      mode     = "fail"
    }

    # The models of the last good pointers stay on the node for the next version of the service.
    ephemeral_disk {
      size   = var.disk_mb
      sticky = true
    }

    network {
      port "http" {}
    }

    shutdown_delay = var.shutdown_delay

    service {
      name        = "${var.prefix}-${var.service}"
      provider    = var.provider
      port        = "http"
      tags        = ["live"]
      canary_tags = ["canary"]

      check {
        name     = "live"
        type     = "http"
        path     = "/v2/health/live"
        interval = "5s"
        timeout  = "5s"

        # Only a process that does not answer is started again. One that is not ready may wait for
        # a model to be published, which no restart brings about.
        check_restart {
          limit = 3
          grace = var.healthy_deadline
        }
      }

      check {
        name     = "ready"
        type     = "http"
        path     = "/v2/health/ready"
        interval = "2s"
        timeout  = "5s"
      }
    }

    task "serving" {
      driver       = var.driver
      kill_signal  = "SIGTERM"
      kill_timeout = "${var.drain_timeout + 5}s"

      dynamic "config" {
        for_each = var.driver == "docker" ? ["docker"] : []
        content {
          image      = var.image
          entrypoint = ["tini", "--", "python"]
          args       = local.args
          ports      = ["http"]
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
        PENSTOCK_STORE                 = var.store
        PENSTOCK_ENVIRONMENT           = var.environment
        PENSTOCK_VAR                   = "${NOMAD_ALLOC_DIR}/data"
        PENSTOCK_SERVING_HOST          = var.driver == "docker" ? "0.0.0.0" : "${NOMAD_IP_http}"
        PENSTOCK_SERVING_PORT          = "${NOMAD_PORT_http}"
        PENSTOCK_SERVING_ALLOW_PUBLIC  = var.allow_public ? "1" : "0"
        PENSTOCK_SERVING_WORKERS       = "${var.workers}"
        PENSTOCK_SERVING_DRAIN_TIMEOUT = "${var.drain_timeout}"
        PYTHONUNBUFFERED               = "1"
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
        for_each = local.secrets
        content {
          destination = "${NOMAD_SECRETS_DIR}/${template.key}.json"
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
        max_file_size = 20
      }
    }
  }
}
