/* A lock that needs no beginning and no end. */
#ifndef FS_LOCK_H
#define FS_LOCK_H

#if defined(_WIN32)
#include <windows.h>
typedef SRWLOCK fs_lock;
#define FS_LOCK_INIT SRWLOCK_INIT
static inline void fs_lock_take(fs_lock *lock) { AcquireSRWLockExclusive(lock); }
static inline void fs_lock_leave(fs_lock *lock) { ReleaseSRWLockExclusive(lock); }
#else
#include <pthread.h>
typedef pthread_mutex_t fs_lock;
#define FS_LOCK_INIT PTHREAD_MUTEX_INITIALIZER
static inline void fs_lock_take(fs_lock *lock) { pthread_mutex_lock(lock); }
static inline void fs_lock_leave(fs_lock *lock) { pthread_mutex_unlock(lock); }
#endif

#endif
