/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec jump on x86: the exchange of two pages, as both trampolines do it. Only for
 * assembly files to include, and lab/native/exchange.S, which measures it.
 */

/*
 * exchange_pages - exchange two pages
 * @a, @b:	registers with their addresses; clobbered
 * @next_a, @next_b: the same of the two pages that will be exchanged next, if any: they
 *		are fetched meanwhile, wherever they may be, as prefetching faults nowhere
 * @end:	register to use; clobbered
 * @avx:	by registers of 256 bits (AVX) instead of 128 (SSE2)
 *
 * CR4.OSFXSR has to be set, CR0.EM and CR0.TS clear; for AVX also CR4.OSXSAVE, with AVX
 * in XCR0. Clobbers the first eight vector registers.
 *
 * What takes the time is waiting for memory. The hardware's own prefetching stops at the
 * end of each page and begins anew with some misses (Intel 64 and IA-32 Architectures
 * Optimization Reference Manual, Data Prefetching); most pages are not behind each other.
 */
.macro exchange_pages a, b, next_a, next_b, end, avx=0
	lea	PAGE_SIZE(\b), \end
.Lline\@:
	prefetcht0	(\next_a)
	prefetcht0	(\next_b)
	.if \avx
	vmovdqa	(\a), %ymm0
	vmovdqa	32(\a), %ymm1
	vmovdqa	(\b), %ymm2
	vmovdqa	32(\b), %ymm3
	vmovdqa	%ymm2, (\a)
	vmovdqa	%ymm3, 32(\a)
	vmovdqa	%ymm0, (\b)
	vmovdqa	%ymm1, 32(\b)
	.else
	movdqa	(\a), %xmm0
	movdqa	16(\a), %xmm1
	movdqa	32(\a), %xmm2
	movdqa	48(\a), %xmm3
	movdqa	(\b), %xmm4
	movdqa	16(\b), %xmm5
	movdqa	32(\b), %xmm6
	movdqa	48(\b), %xmm7
	movdqa	%xmm4, (\a)
	movdqa	%xmm5, 16(\a)
	movdqa	%xmm6, 32(\a)
	movdqa	%xmm7, 48(\a)
	movdqa	%xmm0, (\b)
	movdqa	%xmm1, 16(\b)
	movdqa	%xmm2, 32(\b)
	movdqa	%xmm3, 48(\b)
	.endif
	add	$64, \next_a
	add	$64, \next_b
	add	$64, \a
	add	$64, \b
	cmp	\end, \b
	jne	.Lline\@
	sub	$PAGE_SIZE, \next_a
	sub	$PAGE_SIZE, \next_b
	.if \avx
	/* Whoever runs next and has SSE alone is slow with their upper halves in use. */
	vzeroupper
	.endif
.endm
