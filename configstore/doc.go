// Package configstore keeps a few small values on disk, in the file format of Open/R's persistent store, so that what an
// operator has set survives a restart.
//
// Owns: the file at persistent_config_store_path, the bad files kept beside it, and the map of keys to values.
// Reads and writes: that file.
//
// A value is on disk, durably, when Set returns without an error. Every write replaces the whole file atomically, so a
// crash leaves either the old content or the new one.
package configstore
