package fetcher

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of messages.
const (
	fieldLease   protowire.Number = 1 // lease_id
	fieldTickets protowire.Number = 2 // created_kerberos_file_paths
	fieldSpecs   protowire.Number = 1 // credspec_contents
)

// texts writes a field as often as there are texts.
func texts(message []byte, field protowire.Number, list ...string) []byte {
	for _, s := range list {
		message = protowire.AppendString(protowire.AppendTag(message, field, protowire.BytesType), s)
	}
	return message
}

// append writes the account in three fields, of which the first is told.
func (a *Account) append(message []byte, first protowire.Number) []byte {
	message = texts(message, first, a.User)
	message = texts(message, first+1, a.Password.Reveal())
	return texts(message, first+2, a.Domain)
}

// leaseOf reads the reply to both ways of asking for a lease.
func leaseOf(message []byte, err error) (Lease, error) {
	if err != nil {
		return Lease{}, err
	}
	l, err := readLease(message)
	if err != nil {
		return l, fmt.Errorf("the answer of credentials-fetcher: %w", err)
	}
	return l, nil
}

// readLease skips fields that it does not know.
func readLease(message []byte) (l Lease, err error) {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeField(message)
		if n < 0 {
			return l, protowire.ParseError(n)
		}
		_, _, tag := protowire.ConsumeTag(message)
		value := message[tag:n]
		message = message[n:]
		if kind != protowire.BytesType || field != fieldLease && field != fieldTickets {
			continue
		}
		text, _ := protowire.ConsumeString(value)
		if field == fieldLease {
			l.ID = text
		} else {
			l.Tickets = append(l.Tickets, text)
		}
	}
	if l.ID == "" {
		return l, errors.New("no lease_id")
	}
	return l, nil
}
