package configstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Records written by hand from the layout.
const (
	addA    = "\x01\x00\x00\x00\x01a\x00\x00\x00\x03one"
	addA2   = "\x01\x00\x00\x00\x01a\x00\x00\x00\x05other"
	addB    = "\x01\x00\x00\x00\x02bb\x00\x00\x00\x00"
	deleteA = "\x02\x00\x00\x00\x01a\x00\x00\x00\x00"
)

func TestParse(t *testing.T) {
	state := "\x01\x00\x00\x00\x13link-monitor-config\x00\x00\x00\x02\x11\x00"
	for _, tc := range []struct {
		name, file string
		want       map[string]string
		problem    string // "" : none
	}{
		{name: "marker only", file: marker},
		{name: "one", file: marker + addA, want: map[string]string{"a": "one"}},
		{name: "two, one of them empty", file: marker + addA + addB, want: map[string]string{"a": "one", "bb": ""}},
		{name: "override", file: marker + addA + addB + addA2, want: map[string]string{"a": "other", "bb": ""}},
		{name: "delete", file: marker + addA + addB + deleteA, want: map[string]string{"bb": ""}},
		{name: "delete of nothing", file: marker + deleteA},
		{name: "deleted and added again", file: marker + addA + deleteA + addA2, want: map[string]string{"a": "other"}},
		{name: "link monitor state, hard drained", file: marker + state, want: map[string]string{"link-monitor-config": "\x11\x00"}},
		{name: "delete with a value", file: marker + addA + "\x02\x00\x00\x00\x01a\x00\x00\x00\x01x" + addB, want: map[string]string{"bb": ""}},
		{name: "value with every byte", file: marker + "\x01\x00\x00\x00\x01x\x00\x00\x01\x00" + everyByte(), want: map[string]string{"x": everyByte()}},

		{name: "empty file", file: "", problem: "ends after 0 bytes"},
		{name: "part of the marker", file: "TlvForm", problem: "ends after 7 bytes"},
		{name: "another marker", file: "TLVFORMATMARKER" + addA, want: map[string]string{"a": "one"}, problem: marker},
		{name: "no marker", file: addA + addB, want: map[string]string{"a": "one", "bb": ""}, problem: "missing"},
		{name: "no marker, cut", file: addA + addB[:4], want: map[string]string{"a": "one"}, problem: "truncated"},
		{name: "something else", file: "#!/bin/sh\necho this is no store\n", problem: marker},
		{name: "action 0", file: marker + addA + "\x00" + addA2[1:], want: map[string]string{"a": "one"}, problem: "byte 28: action 0"},
		{name: "action 3", file: marker + addA + "\x03" + addA2[1:], want: map[string]string{"a": "one"}, problem: "action 3"},
		{name: "key of 4 GiB", file: marker + addA + "\x01\xff\xff\xff\xffa", want: map[string]string{"a": "one"}, problem: "4294967295 bytes announced, 1 left"},
		{name: "value of 4 GiB", file: marker + addA + "\x01\x00\x00\x00\x01b\xff\xff\xff\xff", want: map[string]string{"a": "one"}, problem: "value: truncated"},
		{name: "zeros after a crash", file: marker + addA + strings.Repeat("\x00", 100), want: map[string]string{"a": "one"}, problem: "action 0"},
		{name: "empty key left out", file: marker + "\x01\x00\x00\x00\x00\x00\x00\x00\x01x" + addA, want: map[string]string{"a": "one"}, problem: "key is empty"},
		{
			name: "key too long left out", file: marker + "\x01\x00\x00\x04\x01" + strings.Repeat("k", 1025) + "\x00\x00\x00\x00" + addA,
			want: map[string]string{"a": "one"}, problem: "1025 bytes",
		},
		{
			name: "value too long left out", file: marker + "\x01\x00\x00\x00\x01v\x00\x10\x00\x01" + strings.Repeat("v", 1<<20+1) + addA,
			want: map[string]string{"a": "one"}, problem: "1048577 bytes",
		},
	} {
		got, err := parse([]byte(tc.file))
		if err == nil && tc.problem != "" || err != nil && (tc.problem == "" || !strings.Contains(err.Error(), tc.problem)) {
			t.Errorf("%s: problem %v, want %q", tc.name, err, tc.problem)
		}
		if !maps.Equal(texts(got), tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, texts(got), tc.want)
		}
	}
}

func everyByte() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

// texts is never nil where nothing is wanted, which maps.Equal does not mind.
func texts(content map[string][]byte) map[string]string {
	out := map[string]string{}
	for k, v := range content {
		out[k] = string(v)
	}
	return out
}

func TestTooManyKeysAreLeftOut(t *testing.T) {
	file := []byte(marker)
	for i := range maxKeys + 5 {
		file = append(file, 1, 0, 0, 0, 4)
		file = binary.BigEndian.AppendUint32(file, uint32(i))
		file = append(file, 0, 0, 0, 0)
	}
	file = append(file, "\x02\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00"+addA...) // one goes, another fits
	got, err := parse(file)
	if err == nil || len(got) != maxKeys || string(got["a"]) != "one" {
		t.Errorf("%d keys, %v", len(got), err)
	}
}

// A file that was cut off anywhere gives all records before the cut.
func TestParseTruncatedAnywhere(t *testing.T) {
	records := []string{addA, addB, addA2, deleteA, addA}
	file := marker + strings.Join(records, "")
	for cut := range len(file) + 1 {
		whole, end := map[string][]byte{}, len(marker)
		boundary := cut == end
		for i, r := range records {
			if end += len(r); end > cut {
				break
			}
			boundary = boundary || end == cut
			whole, _ = parse([]byte(marker + strings.Join(records[:i+1], "")))
		}
		got, err := parse([]byte(file[:cut]))
		if !maps.EqualFunc(got, whole, bytes.Equal) || boundary != (err == nil) {
			t.Errorf("cut at %d: %q %v, want %q", cut, got, err, whole)
		}
	}
}

func TestAppendFile(t *testing.T) {
	got := appendFile([]byte("before"), map[string][]byte{"bb": {}, "a": []byte("one")})
	if want := "before" + marker + addA + addB; string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := appendFile(nil, nil); string(got) != marker {
		t.Errorf("empty: %q", got)
	}
}

func contents() *rapid.Generator[map[string][]byte] {
	return rapid.MapOf(rapid.StringN(1, 30, 100), rapid.SliceOf(rapid.Byte()))
}

func TestFileRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := contents().Draw(t, "content")
		file := appendFile(nil, want)
		got, err := parse(file)
		if err != nil || !maps.EqualFunc(got, want, bytes.Equal) || len(file) != fileSize(want) {
			t.Fatalf("%q %v, want %q", got, err, want)
		}
	})
}

// A log of additions and deletions, as Open/R appends it, comes to what a map comes to.
func TestLogOfChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		file, want := []byte(marker), map[string][]byte{}
		for range rapid.IntRange(0, 50).Draw(t, "records") {
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			value := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "value")
			if rapid.Bool().Draw(t, "delete") {
				file = fmt.Appendf(file, "\x02\x00\x00\x00\x01%s\x00\x00\x00\x00", key)
				delete(want, key)
				continue
			}
			file = fmt.Appendf(file, "\x01\x00\x00\x00\x01%s\x00\x00\x00%c%s", key, len(value), value)
			want[key] = value
		}
		got, err := parse(file)
		if err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("%q %v, want %q", got, err, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(marker + addA + addB + addA2 + deleteA))
	f.Add([]byte(addA + addB))
	f.Add([]byte(marker + addA + "\x01\xff\xff\xff\xff"))
	f.Add([]byte("TlvForm"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, file []byte) {
		kept := slices.Clone(file)
		content, problem := parse(file)
		size := 0
		for k, v := range content {
			size += len(k) + len(v)
			for i := range v {
				v[i]++ // a value that shared the file's memory would change it
			}
		}
		if !bytes.Equal(file, kept) || size > len(file) {
			t.Fatal("the content is not made of the file")
		}
		if problem == nil && !bytes.HasPrefix(file, []byte(marker)) {
			t.Fatal("a file without a marker is good")
		}
		again, err := parse(appendFile(nil, content))
		if err != nil || !maps.EqualFunc(again, content, bytes.Equal) {
			t.Fatalf("what was read of %q is written as something else: %v", file, err)
		}
		if errors.Is(problem, errTruncated) {
			return
		}
		longer, _ := parse(append(slices.Clone(file), addA...))
		if problem == nil && string(longer["a"]) != "one" {
			t.Fatal("a good file cannot be appended to")
		}
	})
}
