package member

import (
	"errors"
	"fmt"
)

// Errors of this package, wrapped; test them with errors.Is.
var (
	// ErrDenied says that someone asked for what they have no right to: a wrong secret, a role that does not suffice.
	ErrDenied = errors.New("denied")
	// ErrExpired is an ErrDenied: the invite's or the certificate's time has passed, or has not come yet.
	ErrExpired = fmt.Errorf("%w: expired", ErrDenied)
	// ErrUsed is an ErrDenied: the invite was redeemed as often as it may be.
	ErrUsed = fmt.Errorf("%w: used already", ErrDenied)
	// ErrPending says that an admin has yet to let a pod in that asked.
	ErrPending = errors.New("waits for an admin to let it in")
	// ErrElsewhere says that a pod was asked which is of another network.
	ErrElsewhere = errors.New("is of another network")
	// ErrBadToken says that a text is no token: mistyped, cut short, or of another version.
	ErrBadToken = errors.New("no valid token")
	// ErrBadCert says that a certificate or chain does not prove what it claims.
	ErrBadCert = errors.New("no valid certificate")
	// ErrBadName says that a name can't be given to a network, pod or user.
	ErrBadName = errors.New("no valid name")
	// ErrBadStatement says that bytes are no statement, or one whose signature does not hold.
	ErrBadStatement = errors.New("no valid statement")
	// ErrBadMessage says that bytes are no enrolment message or stored invite.
	ErrBadMessage = errors.New("no valid enrolment message")
	// ErrNoNumbers says that an issuer has given all the member numbers of its range.
	ErrNoNumbers = errors.New("no member numbers are left to give")
)
