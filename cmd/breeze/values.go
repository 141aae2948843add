package main

import (
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"openr/lsdb"
	"openr/thrift/compact"
	"openr/thrift/gen/types"
)

// decodedStruct is the Thrift struct in the value of a key; nil if the key's name does not tell of one, or if the value
// is not one.
func decodedStruct(key string, value []byte) any {
	if _, ok := lsdb.ParseAdjKey(key); ok {
		db := types.NewAdjacencyDatabase()
		if compact.Unmarshal(value, db) == nil {
			return db
		}
	}
	if strings.HasPrefix(key, lsdb.PrefixPrefix) {
		db := types.NewPrefixDatabase()
		if compact.Unmarshal(value, db) == nil {
			return db
		}
	}
	return nil
}

// decoded is the value of a key for JSON: a struct, text, or hexadecimal digits.
func decoded(key string, value []byte) any {
	if s := decodedStruct(key, value); s != nil {
		return s
	}
	if printable(value) {
		return string(value)
	}
	return hex.EncodeToString(value)
}

// valueText is the value of a key for people: a struct, text, or a hexadecimal dump.
func valueText(key string, value []byte) string {
	if s := decodedStruct(key, value); s != nil {
		b, err := json.MarshalIndent(plain(reflect.ValueOf(s)), "", "  ")
		if err == nil {
			return string(b)
		}
	}
	if printable(value) {
		return string(value)
	}
	return strings.TrimRight(hex.Dump(value), "\n")
}

func printable(b []byte) bool {
	return utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) })
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(text, "\n", "\n    ") + "\n"
}
