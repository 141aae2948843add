package decision

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"
)

// Store is where the RibPolicy is kept from one run to the next. Its methods are called by those who set a policy, never
// by the goroutine that computes routes.
type Store interface {
	// Get returns the value of a key.
	Get(key string) (value []byte, ok bool)
	// Set returns when the value is stored durably, or why it is not. It may block for as long as the disk does.
	Set(key string, value []byte) error
	// Erase forgets a key, in the same way.
	Erase(key string) error
}

// Keys of the store. C++ Open/R keeps its policy in a file of its own (decision/Decision.cpp, --rib_policy_file).
const (
	policyKey    = "rib-policy"
	badPolicyKey = "rib-policy.bad" // what was found there and could not be used
)

// Names of counters, this project's own.
const (
	counterPolicyNotStored = "decision.rib_policy.not_stored" // sum: changes of the RibPolicy that took effect but could not be stored
	counterPolicyBadStored = "decision.rib_policy.bad_stored" // sum: stored RibPolicies that could not be used
)

// ErrNotStored is what SetRibPolicy and ClearRibPolicy return when their change is in effect but could not be stored.
var ErrNotStored = errors.New("in effect, but not stored: it will not survive a restart")

// storedPolicy is the value under policyKey, in JSON; the names of the fields, those of RibStatement too, are part of the
// format.
type storedPolicy struct {
	SetUnixMillis int64
	TTLMillis     int64
	Statements    []RibStatement
}

// encodePolicy returns how a policy that was set at now is stored.
func encodePolicy(p RibPolicy, now time.Time) ([]byte, error) {
	return json.Marshal(storedPolicy{now.UnixMilli(), p.TTL.Milliseconds(), p.Statements})
}

// decodePolicy returns a stored policy with what is left of its time at now; nil if nothing is. ahead is true if it was set in
// the future: the clock was set back since, and nobody knows how much of the time is over. Then it has all of it.
func decodePolicy(value []byte, now time.Time) (p *ribPolicy, ahead bool, err error) {
	var s storedPolicy
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return nil, false, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false, errors.New("there is something behind the policy")
	}
	const most = 1<<31 - 1 // of seconds in Open/R's RibPolicy
	if s.TTLMillis <= 0 || s.TTLMillis > most*1000 {
		return nil, false, fmt.Errorf("TTLMillis is %d: want 1 to %d", s.TTLMillis, most*1000)
	}
	ttl := time.Duration(s.TTLMillis) * time.Millisecond
	age := now.Sub(time.UnixMilli(s.SetUnixMillis))
	left := ttl - max(age, 0)
	p, err = newRibPolicy(RibPolicy{Statements: s.Statements, TTL: max(left, 1)}, now)
	if err != nil || left <= 0 {
		return nil, false, err
	}
	return p, age < 0, nil
}

// restorePolicy puts the stored policy in force, if there is one whose time is not over. One that is bad is kept under
// another key and otherwise ignored.
func (d *Decision) restorePolicy(now time.Time) {
	if d.Store == nil || !d.Config.RibPolicy {
		return
	}
	value, ok := d.Store.Get(policyKey)
	if !ok {
		return
	}
	p, ahead, err := decodePolicy(value, now)
	switch {
	case err != nil:
		d.Counters.Sum(counterPolicyBadStored, 1)
		kept := d.Store.Set(badPolicyKey, value)
		d.Log.Warn("the stored RibPolicy is bad and is not in force; set it again", zap.NamedError("problem", err),
			zap.String("kept_as", badPolicyKey), zap.NamedError("keeping", kept))
	case p == nil:
		d.Log.Info("the time of the stored RibPolicy was over before this start")
	default:
		d.core.setPolicy(p, "RIB_POLICY_UPDATE", now)
		d.Log.Info("the stored RibPolicy is in force again", zap.Duration("for", p.ends.Sub(now)), zap.Int("statements", len(p.Statements)))
		if ahead { // so that its time runs from here on, however often the agent restarts before the clock is where it was
			_ = d.keepPolicy(&p.RibPolicy, now) // a failure is logged and counted there
		}
		return
	}
	if err := d.Store.Erase(policyKey); err != nil {
		d.Log.Warn("the stored RibPolicy cannot be erased", zap.Error(err))
	}
}

// keepPolicy stores a policy that was put in force, or with nil that there is none.
func (d *Decision) keepPolicy(p *RibPolicy, now time.Time) error {
	if d.Store == nil {
		return nil
	}
	var err error
	if p == nil {
		err = d.Store.Erase(policyKey)
	} else {
		var value []byte
		if value, err = encodePolicy(*p, now); err == nil {
			err = d.Store.Set(policyKey, value)
		}
	}
	if err == nil {
		return nil
	}
	d.Counters.Sum(counterPolicyNotStored, 1)
	d.Log.Warn("the RibPolicy is in effect, but could not be stored", zap.Error(err))
	return fmt.Errorf("%w: %w", ErrNotStored, err)
}
