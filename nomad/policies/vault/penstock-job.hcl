# What a job may read: the credentials of the store, nothing else. Pipelines get the same.
#
#   vault policy write penstock-job nomad/policies/vault/penstock-job.hcl

path "secret/data/penstock/store" {
  capabilities = ["read"]
}
