//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package main

import "errors"

// askSecret asks nobody here.
func askSecret(string) ([]byte, error) { return nil, errors.New("there is no terminal to ask on") }
