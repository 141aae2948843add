package watchdog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// lateChecks is how many checks in a row must find a module late, or one of a machine that was suspended would do (Open/R
// watchdog/Watchdog.cpp).
const lateChecks = 2

// memoryTime is for how long the memory may be above its limit (Open/R watchdog/Watchdog.cpp).
const memoryTime = 600 * time.Second

// core decides. It knows the time from its callers only.
type core struct {
	interval  time.Duration // between checks
	maxMemory int64         // bytes; 0: no limit
	modules   map[string]*module
	checked   time.Time // zero: not yet
	overSince time.Time // when more memory than maxMemory was seen first; zero: there is less
}

// module is what is known of a loop.
type module struct {
	deadline time.Duration
	asked    time.Time // the oldest question that is not answered; zero: none
	open     bool      // a question is on its way
	answered time.Time // at first: when it began to be watched
	late     int       // checks in a row
}

func newCore(interval time.Duration, maxMemory int64) *core {
	return &core{interval: interval, maxMemory: maxMemory, modules: map[string]*module{}}
}

func (c *core) watch(name string, deadline time.Duration, now time.Time) *module {
	m := &module{deadline: deadline, answered: now}
	c.modules[name] = m
	return m
}

// ask returns whom to put a question to: those who have none open.
func (c *core) ask(now time.Time) (names []string) {
	for name, m := range c.modules {
		if m.open {
			continue
		}
		m.open = true
		if m.asked.IsZero() {
			m.asked = now
		}
		names = append(names, name)
	}
	return names
}

// answer takes the end of a question; alive is false if it ended without an answer.
func (m *module) answer(alive bool, now time.Time) {
	m.open = false
	if alive {
		m.asked, m.answered = time.Time{}, now
	}
}

// silence is for how long the module owes an answer.
func (m *module) silence(now time.Time) time.Duration {
	if m.asked.IsZero() {
		return 0
	}
	return now.Sub(m.asked)
}

func (m *module) isLate(now time.Time) bool { return m.silence(now) > m.deadline }

// Ending is why the agent has to end.
type Ending struct {
	Module string // whose loop hangs; empty: it is the memory
	text   string
}

func (e *Ending) Error() string { return e.text }

// forgive takes off everybody's account the time in which not even the checks came: the process stood still as a whole
// (SIGSTOP, a machine that is suspended or moved), which is nobody's fault.
func (c *core) forgive(now time.Time) {
	lost := now.Sub(c.checked) - 2*c.interval // to be a little late is usual
	if first := c.checked.IsZero(); first || lost <= 0 {
		return
	}
	later := func(t time.Time) time.Time {
		if t = t.Add(lost); t.After(now) {
			return now
		}
		return t
	}
	for _, m := range c.modules {
		if !m.asked.IsZero() {
			m.asked = later(m.asked)
		}
	}
	if !c.overSince.IsZero() {
		c.overSince = later(c.overSince)
	}
}

// check is a regular look. It returns nil while all is well.
func (c *core) check(now time.Time, memory int64) *Ending {
	c.forgive(now)
	c.checked = now
	var hangs string
	for _, name := range c.names() {
		m := c.modules[name]
		if !m.isLate(now) {
			m.late = 0
			continue
		}
		if m.late++; m.late >= lateChecks && (hangs == "" || m.silence(now) > c.modules[hangs].silence(now)) {
			hangs = name
		}
	}
	if hangs != "" {
		m := c.modules[hangs]
		return &Ending{hangs, fmt.Sprintf("%s has not come round for %v, %v are allowed", hangs, m.silence(now).Round(time.Second), m.deadline)}
	}
	switch {
	case c.maxMemory == 0 || memory <= c.maxMemory:
		c.overSince = time.Time{}
	case c.overSince.IsZero():
		c.overSince = now
	case now.Sub(c.overSince) > memoryTime:
		return &Ending{"", fmt.Sprintf("%d MiB of memory for %v, %d MiB are allowed", memory>>20, now.Sub(c.overSince).Round(time.Second), c.maxMemory>>20)}
	}
	return nil
}

// late returns the module that has been silent for longest beyond its deadline, nil if none is.
func (c *core) late(now time.Time) error {
	for _, name := range slices.SortedFunc(maps.Keys(c.modules), func(x, y string) int {
		return cmp.Or(-cmp.Compare(c.modules[x].silence(now), c.modules[y].silence(now)), cmp.Compare(x, y))
	}) {
		if m := c.modules[name]; m.isLate(now) {
			return fmt.Errorf("%s has not come round for %v", name, m.silence(now).Round(time.Second))
		}
	}
	return nil
}

func (c *core) names() []string { return slices.Sorted(maps.Keys(c.modules)) }
