package points

import (
	"container/heap"
	"time"
)

// queue holds the Refreshers that wait, as a heap. The first one is the next to check.
type queue[T any] []*Refresher[T]

// put puts a Refresher into the queue, to be checked at look. If it is there already, it is checked at
// the earlier of both times. put reports whether that has made it the first one, or the first one
// earlier.
func (q *queue[T]) put(r *Refresher[T], look time.Time) (first bool) {
	switch {
	case r.place == 0:
		r.look = look
		heap.Push(q, r)
	case look.Before(r.look):
		r.look = look
		heap.Fix(q, r.place-1)
	default:
		return false
	}
	return r.place == 1
}

// take takes the first one out of the queue.
func (q *queue[T]) take() *Refresher[T] {
	first := (*q)[0]
	heap.Pop(q)
	return first
}

func (q *queue[T]) remove(r *Refresher[T]) {
	if r.place > 0 {
		heap.Remove(q, r.place-1)
	}
}

// The methods of heap.Interface.

func (q queue[T]) Len() int           { return len(q) }
func (q queue[T]) Less(i, j int) bool { return q[i].look.Before(q[j].look) }

func (q queue[T]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i+1, j+1
}

func (q *queue[T]) Push(r any) {
	if r, ok := r.(*Refresher[T]); ok { // which it always is
		*q = append(*q, r)
		r.place = len(*q)
	}
}

func (q *queue[T]) Pop() any {
	last := len(*q) - 1
	r := (*q)[last]
	(*q)[last], r.place = nil, 0
	*q = (*q)[:last]
	return r
}
