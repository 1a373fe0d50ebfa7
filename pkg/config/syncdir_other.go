//go:build !unix

package config

// SyncDir does nothing: there is no way to sync a folder here.
func SyncDir(string) error { return nil }
