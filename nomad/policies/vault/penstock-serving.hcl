# What the service may read: the credentials of the store, and the tokens of its clients.
#
# It only reads from the store. Where the store has a user who may do no more, keep that user's
# credentials at a path of their own, and name it here and in `vault_store` of the job.
#
#   vault policy write penstock-serving nomad/policies/vault/penstock-serving.hcl

path "secret/data/penstock/store" {
  capabilities = ["read"]
}

path "secret/data/penstock/gateway" {
  capabilities = ["read"]
}
