package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"openr/thrift/gen/openrconfig"
	"openr/thrift/gen/vipservice"
)

// file is what a configuration file says, in the file's own terms: Open/R's OpenrConfig and our additions to it. The json
// tags of the generated types are the keys.
type file struct {
	*openrconfig.OpenrConfig
	RouteSelection openrconfig.RouteSelectionAlgorithm `json:"route_selection_algorithm"`
	NetlinkFib     *netlinkFib                         `json:"netlink_fib"`
	NetlinkLinks   *netlinkLinks                       `json:"netlink_links"`
	ZebraFib       *zebraFib                           `json:"zebra_fib"`
	KvStore        *kvStoreLimit                       `json:"kvstore_limits"`
	Endpoint       *endpointSection                    `json:"endpoint"`
}

// netlinkFib is our own section of the file: how routes are marked in the Linux kernel.
type netlinkFib struct {
	RouteTable     int64 `json:"route_table"`
	RouteProtocol  int32 `json:"route_protocol"`
	RouteMetric    int64 `json:"route_metric"`
	NexthopObjects bool  `json:"nexthop_objects"`
	FastFailover   bool  `json:"fast_failover"`
	StandingFrom   int64 `json:"standing_alternates"`
}

// zebraFib is our own section of the file: how routes are programmed through FRR's zebra.
type zebraFib struct {
	Enable       bool     `json:"enable"`
	Socket       string   `json:"socket"`
	FRRRelease   string   `json:"frr_release"`
	RouteType    string   `json:"route_type"`
	Instance     int32    `json:"instance"`
	Distance     int32    `json:"distance"`
	Tag          int64    `json:"tag"`
	StaleTimeS   int32    `json:"stale_time_s"`
	Redistribute []string `json:"redistribute"`
}

// kvStoreLimit is our own section of the file: what others may put into the store.
type kvStoreLimit struct {
	MaxKeys      int64 `json:"max_keys"`
	MaxMB        int64 `json:"max_mb"`
	PeerMaxKeys  int64 `json:"peer_max_keys"`
	PeerMaxMB    int64 `json:"peer_max_mb"`
	PeerKeysPerS int64 `json:"peer_keys_per_second"`
	PeerBurst    int64 `json:"peer_keys_burst"`
}

// netlinkLinks is our own section of the file: how interfaces of the Linux kernel are handled.
type netlinkLinks struct {
	SkipDAD bool `json:"skip_duplicate_address_detection"`
}

// constructors make the sections that do not default to zero.
var constructors = constructorsOf(
	openrconfig.NewOpenrConfig, openrconfig.NewKvstoreConfig, openrconfig.NewLinkMonitorConfig, openrconfig.NewSparkConfig,
	openrconfig.NewStepDetectorConfig, openrconfig.NewDecisionConfig, openrconfig.NewMonitorConfig,
	openrconfig.NewWatchdogConfig, openrconfig.NewThriftServerConfig, openrconfig.NewThriftClientConfig,
	openrconfig.NewMemoryProfilingConfig, openrconfig.NewOriginatedPrefix, openrconfig.NewAreaConfig,
	openrconfig.NewFabricConfig, vipservice.NewVipServiceConfig,
	func() *netlinkFib {
		return &netlinkFib{RouteTable: 254, RouteProtocol: 99, RouteMetric: 10, NexthopObjects: true, StandingFrom: 100}
	},
	func() *zebraFib {
		return &zebraFib{Socket: "/var/run/frr/zserv.api", RouteType: "openfabric", StaleTimeS: 120}
	},
	func() *kvStoreLimit {
		return &kvStoreLimit{MaxKeys: 2000000, MaxMB: 1024, PeerMaxKeys: 1000000, PeerMaxMB: 512, PeerKeysPerS: 10000, PeerBurst: 1000000}
	},
	func() *netlinkLinks { return &netlinkLinks{SkipDAD: true} },
	newEndpointSection, newRetentionSection, newRogueSection, newLoopSection,
)

func constructorsOf(fns ...any) map[reflect.Type]reflect.Value {
	m := make(map[reflect.Type]reflect.Value, len(fns))
	for _, fn := range fns {
		m[reflect.TypeOf(fn).Out(0).Elem()] = reflect.ValueOf(fn)
	}
	return m
}

// fresh returns a pointer to a new t with Open/R's defaults, sections that are always there included.
func fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if c, ok := constructors[t]; ok {
		v = c.Call(nil)[0]
	}
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct && !strings.Contains(f.Tag.Get("json"), ",omitempty") {
				v.Elem().Field(i).Set(fresh(f.Type.Elem()))
			}
		}
	}
	return v
}

// key is one key of a section of the file.
type key struct {
	name     string
	index    []int // of the field
	optional bool  // may be absent from the section even in the effective configuration
	typ      reflect.Type
}

// keysOf returns the keys of a section in Open/R's order of declaration.
func keysOf(section reflect.Type) []key {
	if keys, ok := keyCache.Load(section); ok {
		return keys.([]key)
	}
	var keys []key
	for _, f := range reflect.VisibleFields(section) {
		if f.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		keys = append(keys, key{name, f.Index, options == "omitempty", f.Type})
	}
	keyCache.Store(section, keys)
	return keys
}

// keyCache has the answers of keysOf: looking them up is most of the work of reading a file.
var keyCache sync.Map

// field returns the field of a section, given as a struct, by its key.
func field(section reflect.Value, name string) (reflect.Value, key) {
	for _, k := range keysOf(section.Type()) {
		if k.name == name {
			return section.FieldByIndex(k.index), k
		}
	}
	panic(fmt.Sprintf("config: %v has no key %q", section.Type(), name))
}

// walk follows a path of keys from a section. Without create the answer is the zero Value where a section on the way is
// absent; with create the section is made.
func walk(section reflect.Value, path string, create bool) (reflect.Value, key) {
	for {
		name, rest, more := strings.Cut(path, ".")
		v, k := field(section, name)
		if !more {
			return v, k
		}
		if v.IsNil() {
			if !create {
				return reflect.Value{}, k
			}
			v.Set(fresh(v.Type().Elem()))
		}
		section, path = v.Elem(), rest
	}
}

// binding is what the tags of a field of Config say.
type binding struct {
	key      string        // path below the enclosing section; empty: the fields of a struct stand in that section itself
	index    int           // of the field
	unit     time.Duration // of an integer that is a duration
	required bool
	zero     bool // 0 is a value like others
}

// limit is what is allowed at a place in the file, beyond its type.
type limit struct {
	min, max int64
	orZero   bool // 0 is allowed too
	unit     time.Duration
	required bool
}

var (
	bindings = map[reflect.Type][]binding{}
	// limits has an entry for every place that Config is bound to, by its pattern, as in areas[].area_id.
	limits = map[string]limit{}
	// covered has every pattern in limits, and every section and list on the way to one.
	covered = map[string]bool{}
)

func init() { bindType(reflect.TypeFor[Config](), "") }

// bindType reads the tags of t, whose section is at prefix.
func bindType(t reflect.Type, prefix string) {
	var bs []binding
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		b := binding{key: f.Tag.Get("key"), index: i, required: f.Tag.Get("need") != "", zero: f.Tag.Get("zero") != ""}
		if f.Type == reflect.TypeFor[time.Duration]() {
			b.unit = unitOf(b.key)
		}
		bs = append(bs, b)

		at := join(prefix, b.key)
		switch {
		case isSection(f.Type):
			bindType(f.Type, at)
		case f.Type.Kind() == reflect.Pointer && isSection(f.Type.Elem()):
			bindType(f.Type.Elem(), at)
		case f.Type.Kind() == reflect.Slice && isSection(f.Type.Elem()):
			bindType(f.Type.Elem(), at+"[]")
		}
		if b.key != "" {
			limits[at] = limitOf(f, b)
			for p := at; p != ""; p = p[:max(0, strings.LastIndexByte(p, '.'))] {
				covered[p] = true
			}
		}
	}
	bindings[t] = bs
}

// isSection reports whether a type of Config is made of keys, rather than the value of one.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[Config]().PkgPath() && t != reflect.TypeFor[Match]()
}

func limitOf(f reflect.StructField, b binding) limit {
	l := limit{min: math.MinInt64, max: math.MaxInt64, orZero: f.Tag.Get("or") == "0", unit: b.unit, required: b.required}
	switch f.Type.Kind() {
	case reflect.Int, reflect.Int32, reflect.Int64:
		if b.unit == 0 {
			l.min, l.max = widthOf(f.Type)
		}
	}
	if tag := f.Tag.Get("range"); tag != "" {
		lo, hi, _ := strings.Cut(tag, "..")
		l.min = max(l.min, mustInt(lo))
		if hi != "" {
			l.max = min(l.max, mustInt(hi))
		}
	}
	return l
}

func mustInt(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// widthOf returns the smallest and the largest value of a signed integer type.
func widthOf(t reflect.Type) (lo, hi int64) {
	return -1 << (t.Bits() - 1), 1<<(t.Bits()-1) - 1
}

// unitOf returns the unit that a key ends in, 0 if in none.
func unitOf(key string) time.Duration {
	switch {
	case strings.HasSuffix(key, "_ms"):
		return time.Millisecond
	case strings.HasSuffix(key, "_s"):
		return time.Second
	}
	return 0
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" || key == "" {
		return path + key
	}
	return path + "." + key
}

// pattern is a path without its indices: areas[1].area_id becomes areas[].area_id.
func pattern(path string) string {
	var b strings.Builder
	inside := false
	for _, c := range path {
		if c == ']' {
			inside = false
		}
		if !inside {
			b.WriteRune(c)
		}
		if c == '[' {
			inside = true
		}
	}
	return b.String()
}
