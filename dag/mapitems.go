package dag

// MapNode is a node of a map as it is stored. Above level 0 the value of an item is the ID of a node of the level below, in its binary form,
// and its key the first key there.
type MapNode struct {
	Level int
	Items []KV
}

// DecodeMapNode reads a node of a map alone, for who walks a tree by levels; Items alias plain. The error is block.ErrCorrupt.
func DecodeMapNode(plain []byte) (MapNode, error) {
	n, err := decodeMapNode(plain)
	if err != nil {
		return MapNode{}, err
	}
	return MapNode{Level: n.level, Items: n.items}, nil
}
