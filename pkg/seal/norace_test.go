//go:build !race

package seal

const race = false
