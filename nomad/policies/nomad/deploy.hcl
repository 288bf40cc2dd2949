# What `penstock deploy` may do, on the cluster of the services: register the service, follow its
# deployment, promote it, fail it, go back.
#
#   nomad acl policy apply penstock-deploy nomad/policies/nomad/deploy.hcl

namespace "default" {
  capabilities = [
    "parse-job",
    "plan-job",
    "register-job",
    "read-job",
    "revert-job",
    "promote-deployment",
    "fail-deployment",
  ]
}
