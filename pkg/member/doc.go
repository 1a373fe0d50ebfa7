// Package member says who belongs to a network: certificates and chains of them, the tokens and invites by
// which a pod gets its first certificate, and the signed statements that all pods hold.
//
// The root key of a network signs admins (or the first pod), admins sign users and pods, a user signs the pods
// they run. A Chain is that list of certificates, and Chain.Verify believes it only from the network's id down:
// the id is the hash of the root's public key, so no list of authorities is needed.
//
// Everything here is a value and a pure function: nothing is stored, nothing waits, and all of it is safe for
// concurrent use. Bytes given to a decoder are hostile: lengths are checked before memory is taken, and decoded
// values own their memory.
//
// # Formats
//
// All are tuples of canonical DAG-CBOR (package cbor); keys, signatures, hashes and ids are byte strings of
// exactly their length. A signature is Ed25519 over the domain, a zero byte, and the encoded body.
//
//	ext      = [[field u32, bytes]...]                  sorted by field, each once; unknown ones are kept
//	certBody = [1 or 2, network, subject, kind, name, role, member, rangeLo, rangeHi, notBefore, notAfter, issuer, ext]
//	cert     = [certBody, signature]                     domain "wormhole/cert/1"; of version 2 in the format SSHSIG, by a user
//	chain    = [1, [cert...]]                            1 to 4 certs, the one signed by the root first
//	token    = "wh1" base32([network, networkName, issuer, secret, [addr...]] checksum)
//	           base32 of RFC 4648 in lower case with no padding; the checksum is the first 4 bytes of BLAKE3
//	           over "wormhole/token/1", a zero byte, and the tuple
//	invite   = [1, secretHash, role, expires, uses, [pod...]]
//	           secretHash is BLAKE3 over "wormhole/invite/1", a zero byte, and the secret
//	request  = [1, secret, podName]                      at most 4 KiB
//	request  = [2, step, networkName, user, podName, cert]
//	reply    = [1, code, text, chain bytes, networkName, [statement...], [[pod, [addr...]]...]]
//	offer    = [2, code, text, chain bytes, networkName, [], [], podName, member, rangeLo, rangeHi]
//	settings = [[1, network, name, policy, durability, version, ext], chain bytes of the signer, signature]
//	           domain "wormhole/network/1"; of an encrypted network
//	           [[2, network, name, policy, durability, version, ext, keyID], chain bytes, signature]
//	key      = [[1, network, subject, keyID, sealed], chain bytes of the signer, signature]
//	           domain "wormhole/key/1"; sealed is 80 bytes, see SealKey
//	revoke   = [[1, network, subject, version, role, [[actor, seq, digest 8]...], [key...], ext, signer], chain bytes, signature]
//	           domain "wormhole/revoke/1"; no chain bytes where the root key signs
//	rekey    = [[1, network, keyID, version, ext], chain bytes of the signer, signature]
//	           domain "wormhole/rekey/1"
//	statement = [kind, bytes]
//
// A reply with a code other than 0 has everything after the text empty.
package member
