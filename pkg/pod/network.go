package pod

import "github.com/wormhole-fs/wormhole/p2p"

// Network is a pod's connections to the others, where Options.Connect gives them: what a p2p.Host does, it promises.
type Network interface{ network }

// Connect makes a pod's connections, over which handler is asked and told. A p2p.Host makes the real ones; the simulator has others.
type Connect func(handler p2p.Handler) (Network, error)
