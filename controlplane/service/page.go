package service

import (
	"encoding/base64"
	"slices"
	"strings"

	"ecsagent/controlplane/api"
)

// maxPage is the length of a page, and of the lists that requests may name.
const maxPage = 100

// entry is an item of a list with the key by which the list is ordered.
type entry struct{ key, value string }

// page sorts the entries and returns the page that is asked for. The token of the
// next page holds the last key, so that a list that changes in between neither
// repeats nor skips what stayed.
func page(entries []entry, p api.Page, descending bool) (values []string, next string, err error) {
	size := maxPage
	if p.MaxResults != nil {
		size = *p.MaxResults
		if size < 1 || size > maxPage {
			return nil, "", api.Invalid("Invalid value %d for maxResults: it must be between 1 and %d.", size, maxPage)
		}
	}
	order := func(a, b string) int {
		if descending {
			a, b = b, a
		}
		return strings.Compare(a, b)
	}
	slices.SortFunc(entries, func(a, b entry) int { return order(a.key, b.key) })
	if p.NextToken != "" {
		after, err := base64.RawURLEncoding.DecodeString(p.NextToken)
		if err != nil {
			return nil, "", api.Invalid("Invalid token.")
		}
		i := slices.IndexFunc(entries, func(e entry) bool { return order(e.key, string(after)) > 0 })
		if i < 0 {
			i = len(entries)
		}
		entries = entries[i:]
	}
	values = []string{}
	for i, e := range entries {
		if i == size {
			next = base64.RawURLEncoding.EncodeToString([]byte(entries[i-1].key))
			break
		}
		values = append(values, e.value)
	}
	return values, next, nil
}
