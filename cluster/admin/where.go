package admin

import "context"

// Pager is implemented by nodes that answer Where in pages: a file may have a million extents.
type Pager interface {
	// WhereFrom is Where from an offset on. Next of its answer says where the list goes on.
	WhereFrom(ctx context.Context, path string, from int64) (Where, error)
}

func whereFrom(ctx context.Context, n Node, path string, from int64) (Where, error) {
	if p, ok := n.(Pager); ok {
		return p.WhereFrom(ctx, path, from)
	}
	return n.Where(ctx, path)
}

// AllOf puts the pages of a Where together.
func AllOf(page func(from int64) (Where, error)) (Where, error) {
	all, err := page(0)
	for err == nil && all.Next > 0 {
		var more Where
		if more, err = page(all.Next); err != nil || more.Ino != all.Ino {
			break // another file has that name now: what was found is the answer
		}
		all.Extents = append(all.Extents, more.Extents...)
		if more.Next <= all.Next {
			more.Next = 0
		}
		all.Next = more.Next
	}
	if err != nil {
		return Where{}, err
	}
	all.Next = 0
	return all, nil
}
