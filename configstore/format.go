package configstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The layout of the file (Open/R config-store/PersistentStore.cpp): the marker, then records of
//
//	action u8 | key length u32 | key | value length u32 | value
//
// in network byte order. Records apply in order, so that a later one overrides an earlier one of the same key.
const (
	marker       = "TlvFormatMarker"
	recordHeader = 1 + 4 + 4

	actionAdd    = 1
	actionDelete = 2 // value length 0
)

// Limits on what is kept. They are far above what Open/R stores, and keep a file that is none of ours from filling the
// memory.
const (
	maxKeyLength   = 1 << 10
	maxValueLength = 1 << 20
	maxKeys        = 10_000
	maxFileSize    = 16 << 20 // of a file that is written

	// maxReadSize is more than maxFileSize, because Open/R appends to its file and rewrites it only now and then.
	maxReadSize = 64 << 20
)

var (
	errMarker   = errors.New("does not begin with " + marker)
	errNoMarker = errors.New("begins with a record; " + marker + " is missing")
	errTooLarge = fmt.Errorf("is larger than %d bytes", maxReadSize)
)

// parse reads a file. It returns what the records before the first bad one come to, never nil, and what is wrong with
// the file, if anything. Records beyond the limits are left out and do not spoil those after them. Values are copies.
//
// A file that is good but for its marker is read like any other, as Open/R does. One without a marker is what Open/R leaves
// when it dies before it has first rewritten its file; Open/R itself cannot read it.
func parse(file []byte) (content map[string][]byte, problem error) {
	content = map[string][]byte{}
	rest := file
	switch {
	case bytes.HasPrefix(file, []byte(marker)):
		rest = file[len(marker):]
	case len(file) > 0 && (file[0] == actionAdd || file[0] == actionDelete):
		problem = errNoMarker
	case len(file) < len(marker):
		return content, fmt.Errorf("%w: it ends after %d bytes", errMarker, len(file))
	default:
		problem, rest = errMarker, file[len(marker):]
	}
	for len(rest) > 0 {
		at := len(file) - len(rest)
		var r record
		var err error
		if r, rest, err = cutRecord(rest); err != nil {
			return content, errors.Join(problem, fmt.Errorf("record at byte %d: %w", at, err))
		}
		if r.action == actionDelete {
			delete(content, string(r.key))
			continue
		}
		_, known := content[string(r.key)]
		if _, err := checkLimits(len(r.key), len(r.value), known, len(content)); err != nil {
			problem = firstOf(problem, fmt.Errorf("record at byte %d left out: %w", at, err))
			continue
		}
		content[string(r.key)] = bytes.Clone(r.value)
	}
	return content, problem
}

// firstOf keeps an error list from growing with the file.
func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// record is one entry of the file; its slices lie in the file's bytes.
type record struct {
	action     byte
	key, value []byte
}

var errTruncated = errors.New("truncated")

// cutRecord splits the first record off b, which is not empty.
func cutRecord(b []byte) (r record, rest []byte, err error) {
	r.action, rest = b[0], b[1:]
	if r.action != actionAdd && r.action != actionDelete {
		return record{}, nil, fmt.Errorf("action %d, expected %d (add) or %d (delete)", r.action, actionAdd, actionDelete)
	}
	if r.key, rest, err = cutBytes(rest); err != nil {
		return record{}, nil, fmt.Errorf("key: %w", err)
	}
	if r.value, rest, err = cutBytes(rest); err != nil {
		return record{}, nil, fmt.Errorf("value: %w", err)
	}
	return r, rest, nil
}

// cutBytes splits a length and as many bytes off b.
func cutBytes(b []byte) (content, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errTruncated
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; uint64(n) > uint64(len(b)) {
		return nil, nil, fmt.Errorf("%w: %d bytes announced, %d left", errTruncated, n, len(b))
	}
	return b[:n:n], b[n:], nil
}

// appendFile appends the file that holds content, keys in order.
func appendFile(dst []byte, content map[string][]byte) []byte {
	dst = append(dst, marker...)
	for _, key := range slices.Sorted(maps.Keys(content)) {
		dst = append(dst, actionAdd)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(key)))
		dst = append(dst, key...)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(content[key])))
		dst = append(dst, content[key]...)
	}
	return dst
}

// fileSize is the length of appendFile's result.
func fileSize(content map[string][]byte) int {
	n := len(marker)
	for key, value := range content {
		n += recordHeader + len(key) + len(value)
	}
	return n
}

// checkLimits tells whether one more value may be kept beside the others, and if not for which cause.
func checkLimits(key, value int, known bool, others int) (cause string, err error) {
	switch {
	case key == 0:
		return causeKey, errors.New("key is empty; name it")
	case key > maxKeyLength:
		return causeKey, fmt.Errorf("key has %d bytes; at most %d are kept", key, maxKeyLength)
	case value > maxValueLength:
		return causeValue, fmt.Errorf("value has %d bytes; at most %d are kept", value, maxValueLength)
	case !known && others >= maxKeys:
		return causeCount, fmt.Errorf("there are %d keys already, the most that are kept; erase some", others)
	}
	return "", nil
}
