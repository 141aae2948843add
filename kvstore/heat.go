package kvstore

import (
	"slices"
	"time"

	"go.uber.org/zap"
)

// A key that changes all the time, because two nodes fight over it or one does not stop refreshing it, would have the whole
// network repeat each change. Nobody needs to know more than the latest: a key that has been flooded maxKeyFloods times
// within a heatTime is not flooded again before that is over. What this node originates has gaps of its own.
const (
	heatTime     = time.Second
	maxKeyFloods = 20
	maxHeated    = 4096 // keys that are watched; who changes more at a time is slowed down by rates
)

// heat is how often keys have been flooded lately.
type heat struct {
	until  time.Time // when counting begins anew
	floods map[string]int
	parked map[string]bool // keys that wait until then; as pending.keys
}

// filter notes that keys are to be flooded, and returns those that may be now, and one of the others if there are any.
func (h *heat) filter(now time.Time, updated []change) (cool []change, hot *change) {
	if !now.Before(h.until) {
		clear(h.floods)
		h.until = now.Add(heatTime)
	}
	if h.floods == nil {
		h.floods, h.parked = map[string]int{}, map[string]bool{}
	}
	for i := range updated {
		key := updated[i].key
		n, watched := h.floods[key]
		if watched || len(h.floods) < maxHeated {
			h.floods[key] = n + 1
		}
		if n < maxKeyFloods {
			if hot != nil {
				cool = append(cool, updated[i])
			}
			continue
		}
		if hot == nil {
			hot, cool = &updated[i], slices.Clone(updated[:i])
		}
		h.parked[key] = h.parked[key] || updated[i].value.HasData()
	}
	if hot == nil {
		return updated, nil
	}
	return cool, hot
}

// damp is enqueue for what others have sent, without keys that are flooded too often.
func (a *area) damp(now time.Time, updated []change, from origin) {
	a.thaw(now)
	cool, hot := a.heat.filter(now, updated)
	if hot != nil {
		n := len(updated) - len(cool)
		a.c.counters.Sum(cntDamped, int64(n))
		a.c.counters.Sum(cntDampedFrom+string(from.giver), int64(n))
		if count, ok := a.c.accounts.list[a.c.accounts.of(from.giver)].damped.due(now, n); ok {
			a.c.log.Warn("a key changes too often: only its latest state is passed on, once a second", zap.String("area", a.id), zap.String("key", hot.key),
				zap.String("originator", hot.value.Originator), zap.String("sender", from.sender), zap.String("from", string(from.giver)), zap.Int("changes", count))
		}
	}
	if len(cool) > 0 {
		a.enqueue(cool, from)
	}
}

// thaw floods the latest state of what was held back.
func (a *area) thaw(now time.Time) {
	h := &a.heat
	if len(h.parked) == 0 || now.Before(h.until) {
		return
	}
	var list []change
	for key, withData := range h.parked {
		if v, ok := a.table.get(key); ok {
			if !withData {
				v = v.WithoutData()
			}
			list = append(list, change{key, v})
		}
	}
	clear(h.parked)
	clear(h.floods)
	h.until = now.Add(heatTime)
	for _, c := range list {
		h.floods[c.key] = maxKeyFloods
	}
	a.enqueue(list, origin{})
}
