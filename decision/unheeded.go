package decision

import (
	"fmt"

	"openr/lsdb"
	"openr/msg"
	"openr/thrift/gen/openrconfig"
)

// unheededError tells what an advertisement asks for and does not get. Open/R once forwarded by label over several disjoint
// paths (KSP2_ED_ECMP, SR_MPLS); today's does not, and this agent does as it does. The fields are carried on.
type unheededError struct{ entry lsdb.PrefixEntry }

func (e *unheededError) Error() string {
	return fmt.Sprintf("%v is advertised with forwardingType %v and forwardingAlgorithm %v, which Open/R no longer heeds and neither does this agent: it is routed as IP over shortest paths (SP_ECMP); change the advertisement to say so",
		e.entry.Prefix, e.entry.ForwardingType, e.entry.ForwardingAlgorithm)
}

// unheeded returns an error if an advertisement asks for more than it gets.
func unheeded(e lsdb.PrefixEntry) error {
	if e.ForwardingType == openrconfig.PrefixForwardingType_IP && e.ForwardingAlgorithm == openrconfig.PrefixForwardingAlgorithm_SP_ECMP {
		return nil
	}
	return &unheededError{e}
}

// maxTold bounds for how many keys it is remembered that something was said about them. Nothing is said about more.
const maxTold = 1000

// told remembers about which keys something was said already. Its zero value is ready for use.
type told struct{ keys map[msg.AreaKey]bool }

// first reports whether something is to be said about a key.
func (t *told) first(k msg.AreaKey) bool {
	if t.keys[k] || len(t.keys) >= maxTold {
		return false
	}
	if t.keys == nil {
		t.keys = map[msg.AreaKey]bool{}
	}
	t.keys[k] = true
	return true
}
