package p2p

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// peerID is a pod's name in libp2p.
func peerID(pod ident.Pod) (peer.ID, error) {
	id, err := peer.Decode(pod.String())
	if err != nil {
		return "", fmt.Errorf("p2p: pod id: %w", err)
	}
	return id, nil
}

// podOf is the pod with this name in libp2p; an identity that is no Ed25519 key is an error.
func podOf(id peer.ID) (ident.Pod, error) {
	pod, err := ident.PodFromBytes([]byte(id))
	if err != nil {
		return ident.Pod{}, fmt.Errorf("p2p: %w", err)
	}
	return pod, nil
}

// parseAddr reads a multiaddr of IP or name and TCP, with or without /p2p/ID, which is dropped; or HOST:PORT.
func parseAddr(s string) (ma.Multiaddr, error) {
	if len(s) > 512 {
		return nil, fmt.Errorf("p2p: address of %d bytes is too long", len(s))
	}
	if !strings.HasPrefix(s, "/") {
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			return nil, fmt.Errorf("p2p: address %q: %w", s, err)
		}
		proto := "dns"
		if ip, err := netip.ParseAddr(host); err == nil {
			proto = "ip4"
			if ip.Is6() {
				proto = "ip6"
			}
		}
		s = "/" + proto + "/" + host + "/tcp/" + port
	}
	a, err := ma.NewMultiaddr(s)
	if err != nil {
		return nil, fmt.Errorf("p2p: address %q: %w", s, err)
	}
	a, _ = peer.SplitAddr(a)
	if len(a) != 2 || a[1].Protocol().Code != ma.P_TCP {
		return nil, fmt.Errorf("p2p: address %q is not IP or name and TCP port", s)
	}
	switch a[0].Protocol().Code {
	case ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
		return a, nil
	}
	return nil, fmt.Errorf("p2p: address %q is not IP or name and TCP port", s)
}

// parseAddrs reads what it can and drops the rest.
func parseAddrs(list []string) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, s := range list {
		if a, err := parseAddr(s); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// parseMultiaddrs is parseAddrs for what libp2p knows.
func parseMultiaddrs(list []ma.Multiaddr) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, a := range list[:min(len(list), PeerAddrsMax)] {
		out = append(out, parseAddrs([]string{a.String()})...)
	}
	return out
}

// mergeAddrs is the addresses of all lists without doubles, the first PeerAddrsMax of them.
func mergeAddrs(lists ...[]ma.Multiaddr) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, a := range slices.Concat(lists...) {
		if len(out) < PeerAddrsMax && !ma.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// addrText is the text forms of addresses with the pod that listens there.
func addrText(addrs []ma.Multiaddr, pod ident.Pod) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String() + "/p2p/" + pod.String()
	}
	return out
}

// encodeAddrs is the body of a frameAddrs: u16 length and text of each, at most addrsMax bytes in all.
func encodeAddrs(addrs []ma.Multiaddr) []byte {
	var b []byte
	for _, a := range addrs[:min(len(addrs), PeerAddrsMax)] {
		s := a.String()
		if len(b)+2+len(s) > addrsMax {
			break
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return b
}

// decodeAddrs reads what encodeAddrs writes. Addresses of kinds that are not known are dropped, so that a
// later version may send others; the error is ErrProtocol.
func decodeAddrs(b []byte) ([]ma.Multiaddr, error) {
	var out []ma.Multiaddr
	for n := 0; len(b) > 0; n++ {
		if len(b) < 2 || n == PeerAddrsMax {
			return nil, fmt.Errorf("p2p: addresses: %w", ErrProtocol)
		}
		size := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; size > len(b) {
			return nil, fmt.Errorf("p2p: addresses: %w", ErrProtocol)
		}
		if a, err := parseAddr(string(b[:size])); err == nil {
			out = append(out, a)
		}
		b = b[size:]
	}
	return out, nil
}

// listenAddrs are the multiaddrs to listen on for one entry of Config.Listen.
func listenAddrs(s string) ([]ma.Multiaddr, error) {
	if host, port, err := net.SplitHostPort(s); err == nil && host == "" {
		four, err := parseAddr("0.0.0.0:" + port)
		if err != nil {
			return nil, err
		}
		six, err := parseAddr("[::]:" + port)
		return []ma.Multiaddr{four, six}, err
	}
	a, err := parseAddr(s)
	if err != nil {
		return nil, err
	}
	if !manet.IsThinWaist(a) {
		return nil, fmt.Errorf("p2p: listen on %q: the host must be an IP address", s)
	}
	return []ma.Multiaddr{a}, nil
}

// tcpPort is the port of an address; 0: none.
func tcpPort(a ma.Multiaddr) int {
	n, err := manet.ToNetAddr(a)
	if err != nil {
		return 0
	}
	if t, ok := n.(*net.TCPAddr); ok {
		return t.Port
	}
	return 0
}

// announced is where listeners can be reached, given the machine's addresses: an unspecified listener
// stands for each of them of its family. Link-local ones are left out, since they mean nothing without a
// zone; loopback ones come last, since they help only pods of this machine.
func announced(listen []ma.Multiaddr, local []netip.Addr) []ma.Multiaddr {
	var out, loop []ma.Multiaddr
	for _, l := range listen {
		ip, err := manet.ToIP(l)
		if err != nil {
			continue
		}
		if !ip.IsUnspecified() {
			out = append(out, l)
			continue
		}
		for _, a := range local {
			if a.Is4() != (ip.To4() != nil) || a.IsLinkLocalUnicast() || a.IsMulticast() {
				continue
			}
			m, err := parseAddr(netip.AddrPortFrom(a, uint16(tcpPort(l))).String())
			switch {
			case err != nil:
			case a.IsLoopback():
				loop = append(loop, m)
			default:
				out = append(out, m)
			}
		}
	}
	return mergeAddrs(out, loop)
}

func hasAddr(list []netip.Addr, ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	return ok && slices.Contains(list, a.Unmap())
}

// localAddrs are the addresses of the machine's interfaces, sorted.
func localAddrs() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("p2p: addresses of interfaces: %w", err)
	}
	var out []netip.Addr
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, ip.Unmap())
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}
