package api

import "time"

// Cache is what the cached copies of a pod are.
type Cache struct {
	CacheBytes     int64 `json:"cache_bytes"`
	Copies         int64 `json:"copies"`
	ProtectedBytes int64 `json:"protected_bytes"` // of those that were used again while they were here
	LimitBytes     int64 `json:"limit_bytes"`
	LeaveFreeBytes int64 `json:"leave_free_bytes"` // of the disk
	LastCopies     int64 `json:"last_copies"`      // that stay, since no other is known
}

// CacheCleaned is what cleaning the cache did.
type CacheCleaned struct {
	Bytes int64 `json:"bytes"` // dropped
	Cache
}

// Repair tells how far a pod is with making again what was lost.
type Repair struct {
	Active           bool       `json:"active"`
	LookedBytes      int64      `json:"looked_bytes"` // at which the round looked
	OfBytes          int64      `json:"of_bytes"`     // of all files; 0: not known yet
	DueBytes         int64      `json:"due_bytes"`    // that this pod has to copy or make again, as found up to now
	DoneBytes        int64      `json:"done_bytes"`
	EndangeredBytes  int64      `json:"endangered_bytes"` // that can't bear the loss of one more pod
	UnsafeBytes      int64      `json:"unsafe_bytes"`
	UnavailableBytes int64      `json:"unavailable_bytes"`
	DamagedBlocks    int        `json:"damaged_blocks"` // of which no good copy could be had yet
	MovedBytes       int64      `json:"moved_bytes"`    // for repair, since the start
	Began            *time.Time `json:"began"`          // null: none has begun
	LeftMS           int64      `json:"left_ms"`        // until it is done, as it goes now; -1: not known
}

// FreezeRequest has a pod take no changes for a while, and others repair nothing of it; 0: as before.
type FreezeRequest struct {
	ForMS int64 `json:"for_ms"`
}

// Frozen tells until when a pod is frozen.
type Frozen struct {
	Frozen bool       `json:"frozen"`
	Until  *time.Time `json:"until"` // null: it is not
}

// HotRequest asks for the files that are read most.
type HotRequest struct {
	Most int `json:"most"` // 0: 20
}

// Hot is a file that is read much.
type Hot struct {
	Path      Text       `json:"path"`
	SizeBytes int64      `json:"size_bytes"`
	ReadBytes int64      `json:"read_bytes"` // here; reads of a while ago count less
	Pods      []PodReads `json:"pods"`       // the most first
	Homes     []Text     `json:"homes"`
	MoveTo    Text       `json:"move_to"` // where it should rather be at home; "": as it is
}

// PodReads is what a pod read of a file.
type PodReads struct {
	Pod       Text  `json:"pod"`
	ReadBytes int64 `json:"read_bytes"`
}
