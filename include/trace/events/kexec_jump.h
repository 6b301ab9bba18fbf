/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kexec_jump

#if !defined(_TRACE_KEXEC_JUMP_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KEXEC_JUMP_H

#include <linux/tracepoint.h>

/*
 * One event when a step of the sequence begins and one when it has ended,
 * going in and coming back. Not emitted while the peer runs.
 */
TRACE_EVENT(kexec_jump_step,
	    TP_PROTO(const char *step, bool leaving, bool begin, int error),
	    TP_ARGS(step, leaving, begin, error),
	    TP_STRUCT__entry(__string(step, step)
			     __field(bool, leaving)
			     __field(bool, begin)
			     __field(int, error)
	    ),
	    TP_fast_assign(__assign_str(step);
			   __entry->leaving = leaving;
			   __entry->begin = begin;
			   __entry->error = error;
	    ),
	    TP_printk("%s %s %s error=%d", __get_str(step),
		      __entry->leaving ? "leave" : "enter",
		      __entry->begin ? "begin" : "end", __entry->error)
);

#endif /* _TRACE_KEXEC_JUMP_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
