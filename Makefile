# SPDX-License-Identifier: GPL-2.0
# Short names for the lab's verbs; lab/lab --help lists them all.
LAB := lab/lab
# x86_64 or i386; without it: both (shell: x86_64)
ARCH ?=
export LINUX_SRC BASE COMPILER

help:
	@echo 'make tree                 compose the kernel tree in build/tree'
	@echo 'make series               write the patch series to build/series'
	@echo 'make htmldocs             build the HTML pages of the documentation in build/docs'
	@echo 'make kernel [ARCH=]       build guest kernels (x86_64, i386)'
	@echo 'make initramfs [ARCH=]    build their initramfs and boot disk'
	@echo 'make rootfs [ARCH=]       build rootfs.gz, for a second kernel: kexec, makedumpfile, kjump'
	@echo 'make small                build a second kernel for 15 MB, with its initramfs in it (i386)'
	@echo 'make debug                build a kernel that looks for mistakes (x86_64)'
	@echo 'make deb                  build Debian packages, of kjump and a kernel, in build/deb'
	@echo 'make shell [ARCH=]        boot a guest and use its shell'
	@echo 'make check                build everything, run all tests (same as lab/check)'
	@echo 'make demo                 kexec jump, live (same as lab/demo)'
	@echo 'make debian               Debian servers hibernate and resume (same as lab/debian)'
	@echo 'make bisect-check         build every commit, CONFIG_KEXEC_JUMP=y and =n'
	@echo 'make install              install kjump on this machine (DESTDIR=, prefix=)'
	@echo 'make clean                remove build/'
	@echo 'COMPILER=clang compiles kernels with it: LTO and CFI on x86_64 (build/clang/).'
	@echo 'BASE=7.3 (or newest) puts the series on that kernel instead of 6.12.'
	@echo 'LINUX_SRC=... takes another kernel tarball or tree as the base.'

tree series small debug deb clean:
	$(LAB) $@

kernel initramfs rootfs shell bisect-check:
	$(LAB) $@ $(ARCH)

htmldocs:
	$(LAB) docs

check demo debian:
	lab/$@

install:
	$(MAKE) -C tools/power/kjump $@

.PHONY: help tree series htmldocs small debug deb kernel initramfs rootfs shell bisect-check check demo debian install clean
