package systemd

import (
	"strings"
	"testing"
	"time"
)

// FuzzWatchdogTimeout: whatever the environment says, the answer is a time that can be used, or an error.
func FuzzWatchdogTimeout(f *testing.F) {
	f.Add("30000000", "")
	f.Add("-1", "1")
	f.Add("9223372036854775807", "")
	f.Fuzz(func(t *testing.T, usec, pid string) {
		d, err := watchdogTimeout(func(name string) (string, bool) {
			if name == "WATCHDOG_USEC" {
				return usec, true
			}
			return pid, true
		})
		if d < 0 || err != nil && d != 0 || d%time.Microsecond != 0 {
			t.Errorf("%v, %v", d, err)
		}
	})
}

// FuzzStatus: whatever is to be shown as status is one line of the message.
func FuzzStatus(f *testing.F) {
	f.Add("waiting\nREADY=1")
	f.Add("\x00\xff")
	f.Fuzz(func(t *testing.T, text string) {
		if line := status(text); strings.ContainsAny(line, "\r\n") {
			t.Errorf("%q has several lines", line)
		}
	})
}
