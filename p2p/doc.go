// Package p2p moves opaque bytes between the pods of a network: questions and answers, messages, and blocks,
// over libp2p with TCP and TLS 1.3 alone. It knows pods by their key, and nothing of what it carries; whom it lets in,
// Config.Admit says.
//
// A Host listens, finds pods (Know, mDNS), keeps connections to them, and calls the Handler. Ask is a
// question with an answer, Tell a message that may be lost only together with a connection or when too many
// wait, Get and Put move blocks. Enrol is a stranger's one request.
//
// What it guarantees: no byte is served to a pod before both sides admitted each other; Connected and
// Disconnected come strictly in turn; messages come in order; memory for one peer is bounded whatever it
// sends; a dead peer is noticed within about 10 s.
//
// The frames, their limits and the life of a connection are drawn in docs/protocol.md.
//
// Locks, in the order in which they are taken: remote.calls; then toldQueue.mu, Host.mu; or link.mu,
// sendQueue.mu. The others are taken alone.
package p2p
