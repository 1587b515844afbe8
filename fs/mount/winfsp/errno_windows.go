package winfsp

import "github.com/winfsp/cgofuse/fuse"

// The numbers of the table are cgofuse's: this does not compile where one differs.
var _ = [1]struct{}{}[0|
	fuse.EPERM^1|fuse.ENOENT^2|fuse.EINTR^4|fuse.EIO^5|fuse.EACCES^13|fuse.EBUSY^16|fuse.EEXIST^17|fuse.EXDEV^18|
	fuse.ENOTDIR^20|fuse.EISDIR^21|fuse.EINVAL^22|fuse.EFBIG^27|fuse.ENOSPC^28|fuse.EROFS^30|fuse.EMLINK^31|
	fuse.EDEADLK^36|fuse.ENAMETOOLONG^38|fuse.ENOLCK^39|fuse.ENOSYS^40|fuse.ENOTEMPTY^41|fuse.EHOSTUNREACH^110|fuse.ENOTCONN^126|fuse.ETIMEDOUT^138]
