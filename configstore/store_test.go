package configstore

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"openr/monitor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openAt(t *testing.T, path string) (*Store, *monitor.Counters) {
	t.Helper()
	counters := monitor.NewCounters()
	s, err := New(Options{Path: path, Counters: counters})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, counters
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != want {
		t.Errorf("%s holds %q %v, want %q", filepath.Base(path), b, err, want)
	}
}

func wantCounter(t *testing.T, c *monitor.Counters, name string, want int64) {
	t.Helper()
	if got, _ := c.Get(name); got != want {
		t.Errorf("%s is %d, want %d", name, got, want)
	}
}

func TestSetIsOnDiskWhenItReturns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.bin")
	s, counters := openAt(t, path)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file before anything was set: %v", err)
	}
	must(t, s.Erase("a"))
	must(t, s.Set("a", []byte("one")))
	wantFile(t, path, marker+addA)
	must(t, s.Set("bb", nil))
	wantFile(t, path, marker+addA+addB)
	must(t, s.Set("a", []byte("one"))) // no change, no write
	wantCounter(t, counters, counterWrites+".sum", 2)
	wantCounter(t, counters, counterKeys, 2)
	must(t, s.Erase("a"))
	wantFile(t, path, marker+addB)
	if _, ok := s.Get("a"); ok {
		t.Error("erased and still there")
	}
	if v, ok := s.Get("bb"); !ok || len(v) != 0 {
		t.Errorf("bb is %q %v", v, ok)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestValuesAreCopies(t *testing.T) {
	s, _ := openAt(t, filepath.Join(t.TempDir(), "store.bin"))
	mine := []byte("one")
	must(t, s.Set("a", mine))
	mine[0] = 'X'
	got, _ := s.Get("a")
	got[1] = 'X'
	if again, _ := s.Get("a"); string(again) != "one" {
		t.Errorf("%q", again)
	}
}

func TestReadsWhatOpenRAppends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.bin")
	must(t, os.WriteFile(path, []byte(marker+addA+addB+deleteA+addA2), 0o666))
	s, counters := openAt(t, path)
	if v, ok := s.Get("a"); !ok || string(v) != "other" {
		t.Errorf("a is %q %v", v, ok)
	}
	wantCounter(t, counters, counterBadFile+".sum", 0)
	wantCounter(t, counters, counterWrites+".sum", 0)
	must(t, s.Erase("bb"))
	wantFile(t, path, marker+addA2)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func TestBadFileIsKeptAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.bin")
	bad := marker + addA + addB + addA2[:7]
	for n := 1; n <= maxBadFiles+2; n++ {
		must(t, os.WriteFile(path, []byte(bad+strings.Repeat("\xff", n)), 0o600))
		counters := monitor.NewCounters()
		s, err := New(Options{Path: path, Counters: counters})
		must(t, err)
		if v, ok := s.Get("a"); !ok || string(v) != "one" {
			t.Errorf("a is %q %v", v, ok)
		}
		wantCounter(t, counters, counterBadFile+".sum", 1)
		wantFile(t, path, marker+addA+addB) // a second crash loses nothing
		wantFile(t, fmt.Sprintf("%s.bad-%d", path, min(n, maxBadFiles)), bad+strings.Repeat("\xff", n))
		must(t, s.Close())
	}
	if files, _ := filepath.Glob(path + "*"); len(files) != maxBadFiles+1 {
		t.Errorf("kept %v", files)
	}
	_, counters := openAt(t, path)
	wantCounter(t, counters, counterBadFile+".sum", 0)
}

// A bad file in whose place none can be written is kept aside once, however often the agent starts.
func TestBadFileOnFullDisk(t *testing.T) {
	path, bad := filepath.Join(t.TempDir(), "store.bin"), marker+addA+"\xff"
	must(t, os.WriteFile(path, []byte(bad), 0o600))
	for range 3 {
		s, err := open(Options{Path: path}, func(string, []byte) error { return syscall.ENOSPC })
		must(t, err)
		if v, ok := s.Get("a"); !ok || string(v) != "one" {
			t.Errorf("a is %q %v", v, ok)
		}
		if err := s.Close(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("closed: %v", err)
		}
		wantFile(t, path, bad)
	}
	if files, _ := filepath.Glob(path + "?*"); len(files) != 1 {
		t.Errorf("kept %v", files)
	}
}

// A file cut off at any byte, by a full disk or a crash while C++ Open/R appended, starts a store with all that precedes the cut.
func TestFileTruncatedAnywhere(t *testing.T) {
	file := marker + addA + addB + addA2 + deleteA
	dir := t.TempDir()
	for cut := range len(file) + 1 {
		path := filepath.Join(dir, fmt.Sprint(cut))
		must(t, os.WriteFile(path, []byte(file[:cut]), 0o600))
		want, problem := parse([]byte(file[:cut]))
		for start := range 2 {
			s, err := New(Options{Path: path})
			must(t, err)
			if !maps.EqualFunc(s.content, want, bytes.Equal) {
				t.Errorf("cut at %d, start %d: %q, want %q", cut, start, s.content, want)
			}
			must(t, s.Close())
		}
		if _, err := os.Stat(path + ".bad-1"); (err == nil) != (problem != nil) {
			t.Errorf("cut at %d: %v kept aside: %v", cut, problem, err)
		}
		if _, err := os.Stat(path + ".bad-2"); err == nil {
			t.Errorf("cut at %d: bad twice", cut)
		}
	}
}

// What is in the file's place and is no file is left alone.
func TestNoFileInItsPlace(t *testing.T) {
	dir := t.TempDir()
	folder, pipe := filepath.Join(dir, "folder"), filepath.Join(dir, "pipe")
	must(t, os.Mkdir(folder, 0o700))
	must(t, syscall.Mkfifo(pipe, 0o600))
	for _, path := range []string{folder, pipe, "/dev/null"} {
		before, err := os.Lstat(path)
		must(t, err)
		s, counters := openAt(t, path)
		wantCounter(t, counters, counterBadFile+".sum", 1)
		if err := s.Set("a", []byte("one")); err == nil || !strings.Contains(err.Error(), "persistent_config_store_path") {
			t.Errorf("%s: %v", path, err)
		}
		if v, ok := s.Get("a"); !ok || string(v) != "one" {
			t.Errorf("%s: a is %q %v", path, v, ok)
		}
		if err := s.Close(); err == nil {
			t.Errorf("%s: what was set is lost without an error", path)
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s was replaced: %v", path, err)
		}
	}
}

func TestSymbolicLinkIsReplaced(t *testing.T) {
	dir := t.TempDir()
	target, path := filepath.Join(dir, "target"), filepath.Join(dir, "store.bin")
	must(t, os.WriteFile(target, []byte(marker+addA), 0o600))
	must(t, os.Symlink(target, path))
	s, _ := openAt(t, path)
	must(t, s.Set("a", []byte("other")))
	wantFile(t, target, marker+addA)
	wantFile(t, path, marker+addA2)
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func TestLimits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.bin")
	s, counters := openAt(t, path)
	must(t, s.Set(strings.Repeat("k", maxKeyLength), make([]byte, maxValueLength)))
	for _, tc := range []struct {
		key   string
		value []byte
		cause string
	}{
		{"", nil, causeKey},
		{strings.Repeat("k", maxKeyLength+1), nil, causeKey},
		{"v", make([]byte, maxValueLength+1), causeValue},
	} {
		if err := s.Set(tc.key, tc.value); err == nil {
			t.Errorf("%s: not refused", tc.cause)
		}
		if _, ok := s.Get(tc.key); ok {
			t.Errorf("%s: refused and taken", tc.cause)
		}
	}
	wantCounter(t, counters, counterRefused+causeKey+".sum", 2)
	wantCounter(t, counters, counterRefused+causeValue+".sum", 1)

	var err error
	n := 0
	for ; err == nil; n++ {
		s.mu.Lock() // without the writes between
		size := s.size
		s.mu.Unlock()
		if size+maxValueLength <= maxFileSize-64 {
			s.mu.Lock()
			s.content[fmt.Sprint(n)] = make([]byte, maxValueLength)
			s.size = fileSize(s.content)
			s.mu.Unlock()
			continue
		}
		err = s.Set(fmt.Sprint(n), make([]byte, maxValueLength))
	}
	wantCounter(t, counters, counterRefused+causeSize+".sum", 1)
	must(t, s.Erase("0"))
	must(t, s.Set("smaller", nil))

	many, counters := openAt(t, filepath.Join(t.TempDir(), "many"))
	for i := range maxKeys {
		many.content[fmt.Sprint(i)] = nil
	}
	if err := many.Set("one too many", nil); err == nil || !strings.Contains(err.Error(), "10000 keys") {
		t.Errorf("%v", err)
	}
	must(t, many.Set("7", []byte("known")))
	wantCounter(t, counters, counterRefused+causeCount+".sum", 1)
}

func TestWriteFailsUntilItSucceeds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	path := filepath.Join(dir, "store.bin")
	s, counters := openAt(t, path)
	if err := s.Set("a", []byte("one")); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Fatalf("%v", err)
	}
	if v, ok := s.Get("a"); !ok || string(v) != "one" {
		t.Errorf("a is %q %v", v, ok)
	}
	wantCounter(t, counters, counterUnsaved, 1)
	if err := s.Set("a", []byte("one")); err == nil { // the same again is still not on disk
		t.Error("no error")
	}
	must(t, os.Mkdir(dir, 0o700))
	must(t, s.Set("bb", nil)) // takes the other with it
	wantFile(t, path, marker+addA+addB)
	wantCounter(t, counters, counterUnsaved, 0)
	if n, _ := counters.Get(counterWriteFailure + ".sum"); n < 2 {
		t.Errorf("%d failures counted", n)
	}
}

// disk is a file system that a test breaks.
type disk struct {
	mu     sync.Mutex // guards what follows
	broken bool
	slow   time.Duration
	file   string
	tries  []time.Time
}

func (d *disk) write(_ string, b []byte) error {
	d.mu.Lock()
	slow := d.slow
	d.mu.Unlock()
	time.Sleep(slow)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tries = append(d.tries, time.Now())
	if d.broken {
		return syscall.ENOSPC
	}
	d.file = string(b)
	return nil
}

func (d *disk) set(broken bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = broken
}

func (d *disk) look() (file string, tries []time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.file, d.tries
}

func TestFailedWritesAreRepeatedWithBackoff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.bin")
	synctest.Test(t, func(t *testing.T) {
		d := &disk{broken: true}
		s, err := open(Options{Path: path}, d.write)
		must(t, err)
		if err := s.Set("a", []byte("one")); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		_, tries := d.look()
		for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000} {
			if got := tries[i+1].Sub(tries[i]); got != want*time.Millisecond {
				t.Errorf("pause %d: %v, want %v ms", i, got, int(want))
			}
		}
		d.set(false)
		time.Sleep(maxBackoff)
		synctest.Wait()
		if file, _ := d.look(); file != marker+addA {
			t.Errorf("file %q", file)
		}
		_, tries = d.look()
		time.Sleep(time.Minute)
		if _, later := d.look(); len(later) != len(tries) {
			t.Error("written again without need")
		}
		// The next failure begins anew.
		d.set(true)
		begin := time.Now()
		if err := s.Set("bb", nil); err == nil {
			t.Error("no error")
		}
		d.set(false)
		time.Sleep(minBackoff)
		synctest.Wait()
		if file, tries := d.look(); file != marker+addA+addB || tries[len(tries)-1].Sub(begin) != minBackoff {
			t.Errorf("file %q", file)
		}
		must(t, s.Close())
	})
}

func TestCloseWritesWhatIsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.bin")
	synctest.Test(t, func(t *testing.T) {
		d := &disk{broken: true}
		s, err := open(Options{Path: path}, d.write)
		must(t, err)
		_ = s.Set("a", []byte("one"))
		d.set(false)
		must(t, s.Close())
		if file, _ := d.look(); file != marker+addA {
			t.Errorf("file %q", file)
		}
		must(t, s.Close())
		if err := s.Set("a", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Set after Close: %v", err)
		}
		if err := s.Erase("a"); !errors.Is(err, ErrClosed) {
			t.Errorf("Erase after Close: %v", err)
		}
		if v, _ := s.Get("a"); string(v) != "one" {
			t.Errorf("Get after Close: %q", v)
		}

		d = &disk{broken: true}
		s, err = open(Options{Path: path}, d.write)
		must(t, err)
		_ = s.Set("a", []byte("one"))
		if err := s.Close(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestABurstIsWrittenTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.bin")
	synctest.Test(t, func(t *testing.T) {
		d := &disk{slow: time.Second}
		s, err := open(Options{Path: path}, d.write)
		must(t, err)
		begin := time.Now()
		var burst sync.WaitGroup
		for i := range 100 {
			burst.Go(func() {
				key := fmt.Sprint("key ", i)
				if err := s.Set(key, []byte("x")); err != nil {
					t.Error(err)
				}
				if file, _ := d.look(); !strings.Contains(file, key) {
					t.Errorf("%s is not on disk", key)
				}
			})
		}
		burst.Wait()
		if _, tries := d.look(); len(tries) > 2 || time.Since(begin) > 2*time.Second {
			t.Errorf("%d writes in %v", len(tries), time.Since(begin))
		}
		must(t, s.Close())
	})
}

func TestPathIsNeeded(t *testing.T) {
	if _, err := New(Options{}); err == nil || !strings.Contains(err.Error(), "persistent_config_store_path") {
		t.Errorf("%v", err)
	}
}

// Whatever is set and erased, and however often the store is closed and opened, it holds what a map would.
func TestStoreIsAMap(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		path := filepath.Join(dir, fmt.Sprint(runs))
		want := map[string][]byte{}
		s, err := New(Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { s.Close() }()
		for range rapid.IntRange(0, 12).Draw(t, "steps") {
			key := rapid.SampledFrom([]string{"a", "b", "link-monitor-config", "\x00\xff"}).Draw(t, "key")
			switch rapid.SampledFrom([]string{"set", "set", "erase", "reopen", "tear"}).Draw(t, "step") {
			case "set":
				value := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "value")
				want[key] = value
				err = s.Set(key, value)
			case "erase":
				delete(want, key)
				err = s.Erase(key)
			case "tear": // somebody appends half a record
				err = s.Close()
				if f, e := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0); e == nil {
					f.WriteString(addA[:8])
					f.Close()
				}
				if err == nil {
					s, err = New(Options{Path: path})
				}
			case "reopen":
				if err = s.Close(); err == nil {
					s, err = New(Options{Path: path})
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if !maps.EqualFunc(s.content, want, bytes.Equal) || s.size != fileSize(want) {
				t.Fatalf("%q of %d bytes, want %q", s.content, s.size, want)
			}
		}
	})
}
