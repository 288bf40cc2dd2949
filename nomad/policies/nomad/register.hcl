# What `penstock register` may do: parse, plan and register job specifications. It can neither
# dispatch nor end a job, nor read logs.
#
#   nomad acl policy apply penstock-register nomad/policies/nomad/register.hcl

namespace "default" {
  capabilities = [
    "parse-job",
    "plan-job",
    "register-job",
    "read-job",
  ]
}
