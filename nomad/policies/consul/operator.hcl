# On call: see what is live, what each instance has loaded, and whether it passes its checks.
#
# SCOPE is the environment as Consul knows it, such as prod-0c2f6a1b9d3e; `penstock doctor` shows it.
# Whoever is to promote and roll back as well gets pipeline.hcl beside this one.

key_prefix "penstock/SCOPE/" {
  policy = "read"
}

service_prefix "penstock-" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}
