package ipc_test

import (
	"fmt"
	"strings"

	"dfs/osmodel/ipc"
)

func ExamplePhilosophers() {
	dinner := ipc.Philosophers(5, 1, false)
	fmt.Println("wrong:", dinner.Play(nil, 1000).Blocked, "wait for ever")
	dinner = ipc.Philosophers(5, 1, true)
	fmt.Println("right:", dinner.Play(nil, 1000).Blocked, strings.Join(dinner.Log, ", "))
	// Output:
	// wrong: [P1 P2 P3 P4 P5] wait for ever
	// right: [] P4 eats, P3 eats, P2 eats, P1 eats, P5 eats
}

func ExampleBuffer() {
	shop := ipc.Buffer(2, 3, 1, true)
	fmt.Println("wrong:", shop.Play(nil, 1000).Blocked, "wait for ever")
	shop = ipc.Buffer(2, 3, 1, false)
	fmt.Println("right:", shop.Play(nil, 1000).Blocked, len(shop.Log), "puts and takes")
	// Output:
	// wrong: [maker1 maker2 consumer] wait for ever
	// right: [] 12 puts and takes
}

func ExampleReadersWriters() {
	text := ipc.ReadersWriters(1, 2, 1, ipc.Fair, true)
	fmt.Println("wrong:", text.Play(nil, 1000).Blocked, "wait for ever")
	text = ipc.ReadersWriters(1, 2, 1, ipc.Fair, false)
	fmt.Println("right:", text.Play(nil, 1000).Blocked, strings.Join(text.Log, ", "))
	// Output:
	// wrong: [writer1 writer2] wait for ever
	// right: [] reader1 reads 0, writer1 writes 1, writer2 writes 2
}

func ExampleBarber() {
	shop := ipc.Barber(2, 1, true)
	fmt.Println("wrong:", shop.Play(nil, 1000).Blocked, "wait for ever")
	shop = ipc.Barber(2, 1, false)
	fmt.Println("right:", shop.Play(nil, 1000).Blocked, strings.Join(shop.Log, ", "))
	// Output:
	// wrong: [barber customer1 customer2] wait for ever
	// right: [] customer2 goes away, customer1 is served
}
