// Virtual-IP service structs that OpenrConfig.vip_service_config refers to.
//
// Struct names, field ids, types and their order are Open/R's, so that the bytes on the wire are the same;
// writers emit fields in the order of declaration. Regenerate the Go code with `make gen`.

namespace go vipservice

struct VipServiceConfig {
  1: i32 port = 3333;
  2: bool enforce_acl = false;
  3: string acl_killswitch_file = "";
  4: i32 min_ttl_s = 1;
  5: i32 max_ttl_s = 600;
  21: optional string ingress_policy;
}
