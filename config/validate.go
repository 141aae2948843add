package config

import (
	"openr/policy"
	"openr/thrift/gen/openrconfig"

	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// relation is a rule between two integers of the file: path op factor * other, compared in the same unit. The rules are
// those of Open/R (config/Config.cpp, and the constructors of Spark and StepDetector) and one of our own: a key must
// survive its first hop.
type relation struct {
	path, op string
	factor   int64
	other    string
}

var relations = []relation{
	{"spark_config.fastinit_hello_time_ms", "<=", 1, "spark_config.hello_time_s"},
	{"spark_config.keepalive_time_s", "<=", 1, "spark_config.hold_time_s"},
	{"spark_config.graceful_restart_time_s", ">=", 3, "spark_config.keepalive_time_s"},
	{"spark_config.graceful_restart_time_s", ">=", 1, "spark_config.hold_time_s"},
	{"spark_config.max_neighbor_discovery_interval_s", ">", 1, "spark_config.min_neighbor_discovery_interval_s"},
	{"spark_config.step_detector_conf.upper_threshold", ">", 1, "spark_config.step_detector_conf.lower_threshold"},
	{"spark_config.step_detector_conf.slow_window_size", ">", 1, "spark_config.step_detector_conf.fast_window_size"},
	{"decision_config.debounce_max_ms", ">=", 1, "decision_config.debounce_min_ms"},
	{"link_monitor_config.linkflap_max_backoff_ms", ">=", 1, "link_monitor_config.linkflap_initial_backoff_ms"},
	{"kvstore_config.sync_max_backoff_ms", ">=", 1, "kvstore_config.sync_initial_backoff_ms"},
	{"kvstore_config.key_ttl_ms", ">", 1, "kvstore_config.ttl_decrement_ms"},
}

// config checks what spans several values of a file and turns it into a Config. The answer counts only if no error is
// noted.
func (d *decoder) config(f *file) *Config {
	c := &Config{rest: f.OpenrConfig}
	d.load("", reflect.ValueOf(c).Elem(), reflect.ValueOf(f).Elem())
	for _, r := range relations {
		d.related(r, reflect.ValueOf(f).Elem())
	}
	d.checkNode(c)
	d.checkAreas(f)
	d.checkSelection(c)
	d.checkPrefixes(c)
	d.checkPolicies(f)
	d.checkMetrics(c)
	d.checkSections(f)
	d.checkEndpoint(c)
	return c
}

func (d *decoder) related(r relation, f reflect.Value) {
	if d.bad[r.path] || d.bad[r.other] {
		return
	}
	v, _ := walk(f, r.path, false)
	o, _ := walk(f, r.other, false)
	if !v.IsValid() || !o.IsValid() { // a section with an error
		return
	}
	// All in nanoseconds, or all in the same unit. 32 bits of seconds times three fit.
	unit, otherUnit := max(unitOf(r.path), 1), max(unitOf(r.other), 1)
	bound := time.Duration(r.factor*o.Int()) * otherUnit / unit
	var ok bool
	var words string
	switch got := time.Duration(v.Int()); r.op {
	case "<=":
		ok, words = got <= bound, "at most"
	case ">=":
		ok, words = got >= bound, "at least"
	case ">":
		ok, words = got > bound, "more than"
	}
	if ok {
		return
	}
	times := ""
	if r.factor != 1 {
		times = strconv.FormatInt(r.factor, 10) + " * "
	}
	value := strconv.FormatInt(v.Int(), 10)
	if d.at[r.path] == nil {
		value += " (the default)"
	}
	d.fail(d.place(r.path, r.other), r.path, value, fmt.Sprintf("%s %d, which is %s%s (%d)", words, int64(bound), times, r.other, o.Int()))
}

// place is where in the file to point to for the first of the paths that is given, or else for what encloses the first.
func (d *decoder) place(paths ...string) int {
	for _, p := range paths {
		if n := d.at[p]; n != nil {
			return n.off
		}
	}
	for p := paths[0]; p != ""; p = p[:max(0, strings.LastIndexAny(p, ".["))] {
		if n := d.at[p]; n != nil {
			return n.off
		}
	}
	return 0
}

// refuseAs notes that what the file has at path is not what is wanted, unless a mistake is noted there or around it.
func (d *decoder) refuseAs(path, want string) {
	for p := path; p != ""; p = p[:max(0, strings.LastIndexAny(p, ".["))] {
		if d.bad[p] {
			return
		}
	}
	value := ""
	if n := d.at[path]; n != nil {
		value = excerpt(d.src[n.off:n.end])
	}
	d.fail(d.place(path), path, value, want)
}

func (d *decoder) checkNode(c *Config) {
	if d.bad["node_name"] {
		return
	}
	if c.NodeName == "" || notInNodeName.MatchString(c.NodeName) {
		d.refuseAs("node_name", "a name, unique in the network, of the characters a-z A-Z 0-9 . _ - only")
	}
	if c.NodeName == "localhost" && d.at["node_name"] == nil {
		d.warn(0, "node_name", "taken from the host name, localhost: it must be unique in the network")
	}
}

func (d *decoder) checkAreas(f *file) {
	first := map[string]int{}
	for i, a := range f.Areas {
		path := fmt.Sprintf("areas[%d]", i)
		id := join(path, "area_id")
		if j, twice := first[a.AreaID]; twice {
			d.refuseAs(id, fmt.Sprintf("an id that no other area has (areas[%d] has it)", j))
		} else {
			first[a.AreaID] = i
		}
		if a.AreaID == "" {
			d.refuseAs(id, `an id that is not empty; if there is only one area, "0"`)
		}
		if len(a.IncludeInterfaceRegexes) == 0 && d.at[path] != nil {
			d.warn(d.place(path), join(path, "include_interface_regexes"), `empty: no neighbour will be looked for in this area; for all interfaces say [".*"]`)
		}
	}
}

// checkSelection warns of what makes packets go in circles.
func (d *decoder) checkSelection(c *Config) {
	if len(c.Areas) > 1 && !c.BestRouteSelection {
		const at = "enable_best_route_selection"
		d.warn(d.place(at), at, "is off, so that what has crossed areas counts as much as what has not: two nodes that join the same areas can send packets to each other")
	}
}

// checkPrefixes also brings tags into order and drops what is given twice.
func (d *decoder) checkPrefixes(c *Config) {
	kept := c.OriginatedPrefixes[:0:0]
	for i, p := range c.OriginatedPrefixes {
		slices.Sort(p.Tags)
		p.Tags = slices.Compact(p.Tags)
		if p.Prefix.IsValid() && slices.ContainsFunc(kept, func(k OriginatedPrefix) bool { return k.Prefix == p.Prefix }) {
			path := fmt.Sprintf("originated_prefixes[%d].prefix", i)
			d.warn(d.place(path), path, "%v is given twice: this one is ignored", p.Prefix)
			continue
		}
		kept = append(kept, p)
	}
	c.OriginatedPrefixes = kept
}

// checkPolicies checks the route policies, and that those exist that are to be applied.
func (d *decoder) checkPolicies(f *file) {
	policies, mistakes := policy.Compile(f.AreaPolicies)
	for _, m := range mistakes {
		d.refuseAs(join("area_policies", m.Path), m.Want)
	}
	for i, a := range f.Areas {
		if a.ImportPolicyName != nil && policies.Propagation(*a.ImportPolicyName) == nil {
			d.refuseAs(fmt.Sprintf("areas[%d].import_policy_name", i), "the name of a policy in area_policies.filters.routePropagationPolicy.objects")
		}
	}
	for i, p := range f.OriginatedPrefixes {
		path := fmt.Sprintf("originated_prefixes[%d]", i)
		if name := p.OriginationPolicy; name != nil && *name != "" && policies.Origination(*name) == nil {
			d.refuseAs(join(path, "origination_policy"), "the name of a policy in area_policies.filters.routeOriginationPolicy.objects")
		}
		if p.ForwardingType != openrconfig.PrefixForwardingType_IP {
			d.warn(d.place(join(path, "forwardingType")), join(path, "forwardingType"), "%v is advertised and has no effect: since 2024 Open/R forwards IP only", p.ForwardingType)
		}
		if p.ForwardingAlgorithm != openrconfig.PrefixForwardingAlgorithm_SP_ECMP {
			d.warn(d.place(join(path, "forwardingAlgorithm")), join(path, "forwardingAlgorithm"), "%v is advertised and has no effect: since 2024 Open/R uses all shortest paths, SP_ECMP", p.ForwardingAlgorithm)
		}
	}
}

func (d *decoder) checkMetrics(c *Config) {
	for i, m := range c.LinkMonitor.StaticMetrics {
		path := fmt.Sprintf("link_monitor_config.static_interface_metrics[%d]", i)
		if m.MaxMetric > 0 && m.Metric > m.MaxMetric {
			d.refuseAs(join(path, "metric"), fmt.Sprintf("at most %d, which is max_metric beside it", m.MaxMetric))
		}
	}
}

// checkSections checks what must be there if something is switched on.
func (d *decoder) checkSections(f *file) {
	if isTrue(f.EnableWatchdog) && d.at["watchdog_config"] == nil {
		d.refuseAs("enable_watchdog", "false, or a section watchdog_config")
	}
	if isTrue(f.EnableVipService) && f.VipServiceConfig == nil {
		d.refuseAs("enable_vip_service", "false, or a section vip_service_config")
	}
	if f.FibPort == 0 && !isTrue(f.EnableNetlinkFibHandler) && !f.ZebraFib.Enable && !isTrue(f.Dryrun) {
		d.refuseAs("enable_netlink_fib_handler", "true, to program the Linux kernel, or in fib_port the port of a FibService, or zebra_fib.enable, or dryrun")
	}
	if f.ZebraFib.Enable && isTrue(f.EnableNetlinkFibHandler) {
		d.refuseAs("zebra_fib.enable", "false, as enable_netlink_fib_handler is true: routes go to zebra or to the kernel")
	}
	d.checkTLS(f)
}

// checkTLS checks that the files are there which encryption needs, and warns if there is none in spite of being asked for.
func (d *decoder) checkTLS(f *file) {
	s := f.ThriftServer
	client := f.ThriftClient != nil && f.ThriftClient.EnableSecureThriftClient
	if !s.EnableSecureThriftServer && !client {
		return
	}
	why := ", as thrift_server.enable_secure_thrift_server is true"
	if !s.EnableSecureThriftServer {
		why = ", as thrift_client.enable_secure_thrift_client is true"
	}
	d.checkFile("thrift_server.x509_ca_path", s.X509CaPath, "the file of the certificate authority"+why)
	if s.EnableSecureThriftServer || s.X509CertPath != nil {
		d.checkFile("thrift_server.x509_cert_path", s.X509CertPath, "the file of the certificate"+why)
	}
	if s.X509KeyPath != nil {
		d.checkFile("thrift_server.x509_key_path", s.X509KeyPath, "the file of the private key"+why)
	}
	if !s.EnableSecureThriftServer {
		return
	}
	if s.EccCurveName == nil || *s.EccCurveName == "" {
		d.refuseAs("thrift_server.ecc_curve_name", "the name of a curve, as in prime256v1"+why)
	}
	if *s.VerifyClientType == openrconfig.VerifyClientType_DO_NOT_REQUEST {
		const path = "thrift_server.enable_secure_thrift_server"
		d.warn(d.place(path), path, "the control port is NOT encrypted, as in Open/R: set verify_client_type to ALWAYS or IF_PRESENTED")
	}
}

func (d *decoder) checkFile(path string, name *string, want string) {
	if name == nil || *name == "" {
		d.refuseAs(path, want)
		return
	}
	if s, err := os.Stat(*name); err != nil {
		d.refuseAs(path, fmt.Sprintf("%s (%v)", want, err))
	} else if s.IsDir() {
		d.refuseAs(path, want+" (this is a directory)")
	}
}

func isTrue(b *bool) bool { return b != nil && *b }
