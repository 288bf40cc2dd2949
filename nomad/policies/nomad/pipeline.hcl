# What a pipeline may do: dispatch the registered work, follow it, read its logs, end it. It can
# neither register a job nor change one.
#
#   nomad acl policy apply -namespace default -job penstock-pipeline-flights \
#     penstock-pipeline nomad/policies/nomad/pipeline.hcl

namespace "default" {
  capabilities = [
    "list-jobs",
    "read-job",
    "dispatch-job",
    "read-logs",
    # End a child on request; give one an evaluation that has none.
    "deregister-job",
    "evaluate-job",
  ]
}

# The size of the nodes: whether work can ever fit.
node {
  policy = "read"
}
