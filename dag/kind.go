package dag

// IsFile says whether a node is a file's: a body or a node of a body's tree. Others are of folders, maps, or nothing of this package.
func IsFile(data []byte) bool {
	if _, err := DecodeBody(data); err == nil {
		return true
	}
	_, err := decodeBodyNode(data)
	return err == nil
}
