# What `penstock deploy` may do, on the cluster of the services: register the service, follow its
# deployment, promote or fail it.
#
#   nomad acl policy apply penstock-deploy nomad/policies/nomad/deploy.hcl

namespace "default" {
  capabilities = [
    "parse-job",
    "plan-job",
    "register-job",
    "read-job",
    "promote-deployment",
    "fail-deployment",
  ]
}
