package peer

// For tests outside the package, which may import what imports it.
var NewGroup = newGroup
