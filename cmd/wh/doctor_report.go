package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"sort"
	"strings"
)

// report is the examination for whoever helps, with what tells who and where one is replaced.
func (d *examination) report(e *env) string {
	var b strings.Builder
	fmt.Fprintf(&b, "wh %s, %s, %s/%s, %d processors\n%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), kernel())
	for _, f := range d.findings {
		fmt.Fprintf(&b, "%s %s: %s\n", f.State, f.Check, f.Text)
	}
	for _, k := range d.keys {
		fmt.Fprintf(&b, "config %s.%s = %s\n", k.Scope, k.Key, k.Value)
	}
	if d.status != nil {
		text, err := json.MarshalIndent(d.status, "", " ")
		if err == nil {
			fmt.Fprintf(&b, "status %s\n", text)
		}
	}
	for _, p := range d.peers {
		fmt.Fprintf(&b, "peer %s: connected %v, %s, direct %v, %.1f ms, %s\n", p.Name, p.Connected, p.Transport, p.Direct, p.RTTMS, p.Why)
	}
	return d.redact(e, b.String())
}

// What is replaced whatever it names. Ids of pods are base58 (12D3Koo…), of networks hexadecimal; CIDs base32.
var (
	idPattern   = regexp.MustCompile(`\b(12D3Koo[1-9A-HJ-NP-Za-km-z]{40,}|[0-9a-f]{64}|baf[a-z2-7]{50,})\b`)
	ip4Pattern  = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b`)
	ip6Pattern  = regexp.MustCompile(`[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:]*`)
	mailPattern = regexp.MustCompile(`[\w.+-]+@[\w.-]+`)
	pathPattern = regexp.MustCompile(`/(home|root|Users|mnt|media|srv|var|tmp|run)(/[^\s",:;]*)?`)
	dnsPattern  = regexp.MustCompile(`/dns[46a]?[a-z]*/[^/\s"]+`)
)

// redact replaces names of pods, networks, hosts and users, ids, addresses and paths.
func (d *examination) redact(e *env, s string) string {
	names := make(map[string]string)
	name := func(n, by string) {
		if n != "" && names[n] == "" {
			names[n] = by
		}
	}
	if d.status != nil {
		name(d.status.NetworkName, "NETWORK")
		for i, p := range d.status.Pods {
			name(string(p.Name), fmt.Sprintf("POD%d", i+1))
		}
	}
	for i, p := range d.peers {
		name(string(p.Name), fmt.Sprintf("PEER%d", i+1))
	}
	for _, p := range d.pods {
		name(p.Name, "OWN")
		name(p.NetworkName, "NETWORK")
		for _, m := range p.Mounts {
			name(m.Dir, "MOUNT")
		}
	}
	host, err := os.Hostname()
	if err == nil {
		name(host, "HOST")
	}
	name(string(e.home), "WH_HOME")
	s = idPattern.ReplaceAllString(s, "ID")
	s = dnsPattern.ReplaceAllString(s, "/dns/HOST")
	s = mailPattern.ReplaceAllString(s, "MAIL")
	// The longest first: a name may be a part of another. Words only, so that a pod called "up" leaves the rest readable.
	var list []string
	for n := range names {
		list = append(list, n)
	}
	sort.Slice(list, func(i, j int) bool {
		return len(list[i]) > len(list[j]) || len(list[i]) == len(list[j]) && list[i] < list[j]
	})
	for _, n := range list {
		s = replaceWord(s, n, names[n])
	}
	s = pathPattern.ReplaceAllString(s, "PATH")
	s = ip4Pattern.ReplaceAllString(s, "IP")
	return ip6Pattern.ReplaceAllStringFunc(s, func(m string) string {
		if _, err := netip.ParseAddr(m); err != nil {
			return m // a time of the day, for one
		}
		return "IP6"
	})
}

// replaceWord replaces a name where it is no part of a longer word.
func replaceWord(s, name, by string) string {
	re := regexp.MustCompile(`(^|[^\w-])` + regexp.QuoteMeta(name) + `($|[^\w-])`)
	for range 2 { // Two of them may share the character between.
		s = re.ReplaceAllString(s, "${1}"+by+"${2}")
	}
	return s
}
