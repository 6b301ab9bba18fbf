// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: The view of the preserved kernel's memory
 *
 * In a kernel that was jumped to, /proc/kexec_jump_vmcore is an ELF core file of the
 * preserved kernel's memory as that kernel sees it. What was in the window is read
 * from its backup pages. read(2), mmap(2), and lseek(2) with SEEK_DATA and SEEK_HOLE
 * work; CAP_SYS_RAWIO is needed. The file has
 *
 * * a PT_LOAD for each piece of its RAM;
 * * a register note for each present CPU, in order: of the CPU that jumped, at the
 *   jump; of the others, before they were taken offline;
 * * its vmcoreinfo;
 * * as e_entry, the address that resumes it.
 *
 * Free pages, pages a hibernation does not save, and pages that hold the peer are
 * left out: they are holes, and read as zeros. The preserved kernel itself says
 * which they are, when all is quiet, just before it jumps. Its jump page says that
 * all its memory is in place: who loads the file as it is can enter it.
 *
 * The file is made when it is opened; after another jump it has to be opened again
 * (ESTALE), and what was mapped of it is gone (SIGBUS). fs/proc/vmcore.c cannot do
 * this: it takes its headers once at boot, while a peer that is jumped to again
 * sees a kernel that went on.
 *
 * It cannot be opened (ENODATA) if hibernation is not available in the preserved
 * kernel (nohibernate, secret memory in use, CXL memory): what must not be written to
 * a disk must not be shown either. The jump itself works.
 */
#include "../internal.h"

#include <linux/bitmap.h>
#include <linux/capability.h>
#include <linux/crash_dump.h>
#include <linux/elf.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/pfn.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/uio.h>

/* A page of the file that is a hole */
#define HOLE	ULONG_MAX

/* Pages that are read at once, at most. */
#define READ_MAX	256
/* Pages that are mapped before others are let on. */
#define MAX_RUN		4096

/**
 * struct view - an open file of that
 * @header:	of the preserved kernel, as it was when it was judged
 * @nr_elf:	pages of the ELF core header
 * @nr_pages:	pages of the file
 * @described:	page frames of the ELF core header and of the bitmap
 * @nr_described: number of them
 * @phdrs:	the program headers
 * @nr_phdrs:	number of them
 * @to_save:	page frames whose bit is set are not left out
 * @nr_pfns:	bits of @to_save
 * @backup:	by page frame of the window: where its content is now
 * @jump_pfn:	page frame of the jump page
 * @jump_page:	what is shown in its place
 * @jumps:	jumps this kernel had made by then; after another one, all the
 *		above is out of date
 * @mapping:	of the file, for those who have mapped it
 * @open:	in the list of open views
 */
struct view {
	struct kexec_jump_header header;
	unsigned long nr_elf;
	unsigned long nr_pages;
	unsigned long *described;
	unsigned long nr_described;
	struct elf64_phdr *phdrs;
	unsigned int nr_phdrs;
	unsigned long *to_save;
	unsigned long nr_pfns;
	struct xarray backup;
	unsigned long jump_pfn;
	struct page *jump_page;
	unsigned long jumps;
	struct address_space *mapping;
	struct list_head open;
};

/* Under kexec_jump_lock. */
static LIST_HEAD(open_views);

/* /proc/kexec_jump_vmcore, and /proc/vmcore: the same. */
static struct proc_dir_entry *entries[2];

static int note_described(void *arg, unsigned long n, unsigned long pfn,
			  unsigned long destination)
{
	struct view *view = arg;

	if (n >= view->nr_described)
		return -EIO;
	view->described[n] = pfn;
	return 0;
}

static int note_backup(void *arg, unsigned long n, unsigned long pfn,
		       unsigned long destination)
{
	struct view *view = arg;

	if (!kexec_jump_is_own(destination))
		return -EIO;
	return xa_err(xa_store(&view->backup, destination, xa_mk_value(pfn),
			       GFP_KERNEL));
}

/* Copy from the description. */
static int read_description(const struct view *view, u64 pos, void *to, size_t bytes)
{
	while (bytes) {
		size_t chunk = min_t(size_t, bytes, PAGE_SIZE - offset_in_page(pos));
		void *page;

		if ((pos >> PAGE_SHIFT) >= view->nr_described)
			return -EIO;
		page = kexec_jump_map_preserved(view->described[pos >> PAGE_SHIFT]);
		if (!page)
			return -ENOMEM;
		memcpy(to, page + offset_in_page(pos), chunk);
		kexec_jump_unmap_preserved(page);
		pos += chunk;
		to += chunk;
		bytes -= chunk;
	}
	return 0;
}

static int read_headers(struct view *view, const struct kexec_jump_header *header)
{
	size_t bitmap_bytes = BITS_TO_LONGS(header->nr_pfns) * sizeof(long);
	u64 elf_bytes = header->elf_pages << PAGE_SHIFT;
	u64 frames = PHYS_PFN(arch_kexec_jump_memory_end());
	struct elf64_hdr ehdr;
	unsigned int i;
	long n;
	int error;

	/* More than there is: damaged, or of memory that this kernel was not told of. */
	if (header->nr_pfns > frames || header->elf_pages > frames)
		return -EIO;
	view->nr_elf = header->elf_pages;
	view->nr_pages = header->elf_pages;
	view->nr_pfns = header->nr_pfns;
	view->nr_described = view->nr_elf + PFN_UP(bitmap_bytes);
	view->described = kvcalloc(view->nr_described, sizeof(*view->described),
				   GFP_KERNEL | __GFP_NOWARN);
	view->to_save = kvmalloc(bitmap_bytes, GFP_KERNEL | __GFP_NOWARN);
	if (!view->described || !view->to_save)
		return -ENOMEM;
	n = kexec_jump_follow_list(header->description, view->nr_described,
				   note_described, view);
	if (n != view->nr_described)
		return n < 0 ? n : -EIO;

	error = read_description(view, 0, &ehdr, sizeof(ehdr));
	if (error)
		return error;
	if (memcmp(ehdr.e_ident, ELFMAG, SELFMAG) || ehdr.e_phoff > elf_bytes ||
	    ehdr.e_phnum * sizeof(*view->phdrs) > elf_bytes - ehdr.e_phoff)
		return -EIO;
	view->nr_phdrs = ehdr.e_phnum;
	view->phdrs = kvmalloc_array(ehdr.e_phnum, sizeof(*view->phdrs), GFP_KERNEL);
	if (!view->phdrs)
		return -ENOMEM;
	error = read_description(view, ehdr.e_phoff, view->phdrs,
				 ehdr.e_phnum * sizeof(*view->phdrs));
	if (!error)
		error = read_description(view, (u64)view->nr_elf << PAGE_SHIFT,
					 view->to_save, bitmap_bytes);
	for (i = 0; !error && i < view->nr_phdrs; i++) {
		const struct elf64_phdr *phdr = &view->phdrs[i];

		if (phdr->p_type != PT_LOAD)
			continue;
		if (PHYS_PFN(phdr->p_paddr) > header->nr_pfns ||
		    PFN_UP(phdr->p_memsz) > header->nr_pfns - PHYS_PFN(phdr->p_paddr) ||
		    phdr->p_filesz > phdr->p_memsz)
			return -EIO;
		view->nr_pages += phdr->p_filesz >> PAGE_SHIFT;
	}
	return error;
}

/* What is outside the window of the memory that is in the file. */
static int reach_memory(const struct view *view, const struct kexec_jump_header *header)
{
	unsigned int i, w;

	for (i = 0; i < view->nr_phdrs; i++) {
		u64 start = view->phdrs[i].p_paddr;
		u64 end = start + view->phdrs[i].p_memsz;
		int error = 0;

		if (view->phdrs[i].p_type != PT_LOAD)
			continue;
		for (w = 0; w < header->nr_ranges; w++) {
			const struct kexec_jump_range *window = &header->window[w];

			if (window->end <= start || window->start >= end)
				continue;
			if (window->start > start)
				error = kexec_jump_reach(PHYS_PFN(start),
							 PHYS_PFN(window->start));
			if (error)
				return error;
			start = window->end;
		}
		if (start < end)
			error = kexec_jump_reach(PHYS_PFN(start), PHYS_PFN(end));
		if (error)
			return error;
	}
	return 0;
}

/* In the file, the jump page says that no page has to be exchanged. */
static int make_jump_page(struct view *view, const struct kexec_jump_header *header)
{
	struct kexec_jump_header *image;
	void *from;

	view->jump_pfn = PHYS_PFN(header->entry);
	view->jump_page = alloc_page(GFP_KERNEL);
	if (!view->jump_page)
		return -ENOMEM;
	from = kexec_jump_map_preserved(view->jump_pfn);
	if (!from)
		return -ENOMEM;
	image = page_address(view->jump_page);
	memcpy(image, from, PAGE_SIZE);
	kexec_jump_unmap_preserved(from);
	image->state = KEXEC_JUMP_IMAGE;
	return 0;
}

static void free_view(struct view *view)
{
	if (view->jump_page)
		__free_page(view->jump_page);
	xa_destroy(&view->backup);
	kvfree(view->to_save);
	kvfree(view->phdrs);
	kvfree(view->described);
	kfree(view);
}

static u64 window_pages(const struct kexec_jump_header *header)
{
	u64 pages = 0;
	unsigned int i;

	for (i = 0; i < header->nr_ranges; i++)
		pages += (header->window[i].end - header->window[i].start) >> PAGE_SHIFT;
	return pages;
}

/* What was not exchanged in the window is this kernel's, whatever is said of it. */
static void leave_out_own(struct view *view, const struct kexec_jump_header *header)
{
	unsigned int i;

	for (i = 0; i < header->nr_ranges; i++) {
		unsigned long pfn = PHYS_PFN(header->window[i].start);
		unsigned long end = min(PHYS_PFN(header->window[i].end), view->nr_pfns);

		for (; pfn < end; pfn++)
			if (!xa_load(&view->backup, pfn))
				__clear_bit(pfn, view->to_save);
	}
}

static int fill_view(struct view *view)
{
	const struct kexec_jump_header *header = &view->header;
	int error;

	if (kexec_jump_judge(header) || !header->description)
		return -ENODATA;
	error = read_headers(view, header);
	if (!error)
		error = reach_memory(view, header);
	if (!error && header->backup_map)
		error = min(kexec_jump_follow_list(header->backup_map,
						   window_pages(header),
						   note_backup, view), 0L);
	if (error)
		return error;
	leave_out_own(view, header);
	return make_jump_page(view, header);
}

static struct view *make_view(const struct kexec_jump_header *live)
{
	struct view *view;
	int error;

	if (!live)
		return ERR_PTR(-ENODATA);
	view = kzalloc_obj(*view);
	if (!view)
		return ERR_PTR(-ENOMEM);
	xa_init(&view->backup);
	view->jumps = kexec_jump_report.jumps;
	/* Whoever can write to it may be about it: a copy does not change any more. */
	memcpy(&view->header, live, sizeof(view->header));
	error = fill_view(view);
	if (error) {
		free_view(view);
		return ERR_PTR(error);
	}
	return view;
}

/* Where the page of the preserved kernel is now, or HOLE. */
static unsigned long where_now(struct view *view, unsigned long pfn)
{
	void *backup;

	if (pfn == view->jump_pfn)
		return page_to_pfn(view->jump_page);
	if (pfn >= view->nr_pfns || !test_bit(pfn, view->to_save))
		return HOLE;
	backup = xa_load(&view->backup, pfn);
	return backup ? xa_to_value(backup) : pfn;
}

/* The page of the preserved kernel that is page @index of the file, or HOLE. */
static unsigned long file_pfn(const struct view *view, unsigned long index)
{
	unsigned int i;

	for (i = 0; i < view->nr_phdrs; i++) {
		const struct elf64_phdr *phdr = &view->phdrs[i];
		u64 first = phdr->p_offset >> PAGE_SHIFT;
		u64 nr = phdr->p_filesz >> PAGE_SHIFT;

		if (phdr->p_type == PT_LOAD && index >= first && index < first + nr)
			return PHYS_PFN(phdr->p_paddr) + index - first;
	}
	return HOLE;
}

/* Page frame that holds page @index of the file now, or HOLE. */
static unsigned long file_page(struct view *view, unsigned long index)
{
	if (index < view->nr_elf)
		return view->described[index];
	return where_now(view, file_pfn(view, index));
}

static bool is_own(const struct view *view, unsigned long pfn)
{
	return pfn == page_to_pfn(view->jump_page);
}

static void set_size(const struct view *view)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(entries); i++)
		if (entries[i])
			proc_set_size(entries[i], (loff_t)view->nr_pages << PAGE_SHIFT);
}

static int vmcore_open(struct inode *inode, struct file *file)
{
	struct view *view;

	/* User 0 of a container is not root of the machine. */
	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (mutex_lock_interruptible(&kexec_jump_lock))
		return -ERESTARTSYS;
	view = make_view(kexec_jump_preserved_now());
	if (!IS_ERR(view)) {
		file->private_data = view;
		view->mapping = file->f_mapping;
		list_add(&view->open, &open_views);
		i_size_write(inode, (loff_t)view->nr_pages << PAGE_SHIFT);
		set_size(view);
	}
	mutex_unlock(&kexec_jump_lock);
	return PTR_ERR_OR_ZERO(view);
}

static int vmcore_release(struct inode *inode, struct file *file)
{
	struct view *view = file->private_data;

	mutex_lock(&kexec_jump_lock);
	list_del(&view->open);
	mutex_unlock(&kexec_jump_lock);
	free_view(view);
	return 0;
}

static bool out_of_date(const struct view *view)
{
	return view->jumps != READ_ONCE(kexec_jump_report.jumps);
}

/*
 * Pages from page @index of the file on, at most @max, that follow each other in
 * memory, or are holes. The first is @pfn.
 */
static unsigned long run_length(struct view *view, unsigned long index,
				unsigned long pfn, unsigned long max)
{
	unsigned long n = 1;

	if (is_own(view, pfn))
		return 1;
	while (n < max && file_page(view, index + n) == (pfn == HOLE ? HOLE : pfn + n))
		n++;
	return n;
}

/* Read at most @bytes from @pos on; *@wanted is set to what was attempted. */
static size_t read_run(struct view *view, u64 pos, size_t bytes, size_t *wanted,
		       struct iov_iter *to)
{
	unsigned long index = pos >> PAGE_SHIFT, pfn = file_page(view, index);
	size_t offset = offset_in_page(pos), copied;
	unsigned long nr = min_t(size_t, PFN_UP(offset + bytes), READ_MAX);
	void *pages = NULL;

	nr = run_length(view, index, pfn, nr);
	if (pfn != HOLE && !is_own(view, pfn)) {
		pages = kexec_jump_map_run(pfn, &nr);
		if (!pages)
			nr = 1;
	}
	*wanted = min_t(size_t, bytes, (nr << PAGE_SHIFT) - offset);
	if (pfn == HOLE)
		return iov_iter_zero(*wanted, to);
	if (is_own(view, pfn))
		return copy_page_to_iter(view->jump_page, offset, *wanted, to);
	if (!pages)
		return 0;
	copied = copy_to_iter(pages + offset, *wanted, to);
	kexec_jump_unmap_preserved(pages);
	return copied;
}

static ssize_t vmcore_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct view *view = iocb->ki_filp->private_data;
	loff_t size = (loff_t)view->nr_pages << PAGE_SHIFT;
	ssize_t done = 0;

	if (out_of_date(view))
		return -ESTALE;
	while (iov_iter_count(to) && iocb->ki_pos < size) {
		size_t bytes = min_t(u64, iov_iter_count(to), size - iocb->ki_pos);
		size_t wanted, copied;

		copied = read_run(view, iocb->ki_pos, bytes, &wanted, to);
		done += copied;
		iocb->ki_pos += copied;
		if (copied < wanted)
			return done ?: -EFAULT;
		/* Tasks are frozen by a signal, too. */
		if (signal_pending(current))
			break;
		cond_resched();
	}
	return done;
}

/* First page from @index on that is a hole, or is none. */
static unsigned long find_page(struct view *view, unsigned long index, bool hole)
{
	while (index < view->nr_pages && (file_page(view, index) == HOLE) != hole) {
		if (fatal_signal_pending(current))
			break;
		index++;
		if (!(index % 1024))
			cond_resched();
	}
	return index;
}

static loff_t vmcore_lseek(struct file *file, loff_t offset, int whence)
{
	struct view *view = file->private_data;
	loff_t size = (loff_t)view->nr_pages << PAGE_SHIFT;
	unsigned long index;

	if (out_of_date(view))
		return -ESTALE;
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return fixed_size_llseek(file, offset, whence, size);
	if (offset < 0 || offset >= size)
		return -ENXIO;
	index = find_page(view, offset >> PAGE_SHIFT, whence == SEEK_HOLE);
	if (whence == SEEK_DATA && index == view->nr_pages)
		return -ENXIO;
	return vfs_setpos(file, max(offset, (loff_t)index << PAGE_SHIFT), size);
}

/* What is mapped next, and how */
struct mapped {
	struct mm_struct *mm;
	unsigned long pfn;
	pgprot_t prot;
};

/*
 * It is memory, whatever this kernel's map says: cached. remap_pfn_range() would have
 * it uncached where that map knows of none.
 */
static int map_page(pte_t *pte, unsigned long address, void *arg)
{
	struct mapped *mapped = arg;

	set_pte_at(mapped->mm, address, pte,
		   pte_mkspecial(pfn_pte(mapped->pfn++, mapped->prot)));
	return 0;
}

/*
 * Map @nr pages from page @index of the file on, at @address; runs of pages that
 * follow each other in memory at once.
 */
static int map_pages(struct view *view, struct vm_area_struct *vma,
		     unsigned long address, unsigned long index, unsigned long nr)
{
	struct mapped mapped = { .mm = vma->vm_mm, .prot = vma->vm_page_prot };
	unsigned long done = 0;

	while (done < nr) {
		unsigned long pfn = file_page(view, index + done), run = 1;
		bool hole = pfn == HOLE;
		int error;

		if (hole)
			pfn = page_to_pfn(ZERO_PAGE(address));
		else if (!kexec_jump_reachable(pfn))
			return -EIO;
		while (!hole && done + run < nr && run < MAX_RUN &&
		       file_page(view, index + done + run) == pfn + run)
			run++;
		mapped.pfn = pfn;
		error = apply_to_page_range(vma->vm_mm, address + PFN_PHYS(done),
					    run << PAGE_SHIFT, map_page, &mapped);
		if (error)
			return error;
		done += run;
		cond_resched();
	}
	return 0;
}

/**
 * kexec_jump_close_views - what the views show is out of date
 *
 * Process context, this kernel has come back from a jump, tasks are frozen. Who has
 * mapped a view gets a SIGBUS when he goes on reading, others ESTALE.
 */
void kexec_jump_close_views(void)
{
	struct view *view;

	mutex_lock(&kexec_jump_lock);
	list_for_each_entry(view, &open_views, open)
		unmap_mapping_range(view->mapping, 0, 0, 1);
	mutex_unlock(&kexec_jump_lock);
}

/* All of a view is mapped at once: what is not there was taken away again. */
static vm_fault_t vmcore_fault(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static const struct vm_operations_struct vmcore_vm_ops = {
	.fault	= vmcore_fault,
};

static int vmcore_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct view *view = file->private_data;
	unsigned long nr = vma_pages(vma);

	if (out_of_date(view))
		return -ESTALE;
	if (vma->vm_pgoff > view->nr_pages || nr > view->nr_pages - vma->vm_pgoff)
		return -EINVAL;
	if (vma->vm_flags & (VM_WRITE | VM_EXEC))
		return -EPERM;
	vm_flags_clear(vma, VM_MAYWRITE | VM_MAYEXEC);
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &vmcore_vm_ops;
	return map_pages(view, vma, vma->vm_start, vma->vm_pgoff, nr);
}

static const struct proc_ops vmcore_ops = {
	.proc_open	= vmcore_open,
	.proc_release	= vmcore_release,
	.proc_read_iter	= vmcore_read,
	.proc_lseek	= vmcore_lseek,
	.proc_mmap	= vmcore_mmap,
};

/* The size is known before the first open, like that of any file. */
static void __init set_first_size(void)
{
	struct view *view = make_view(kexec_jump_preserved_now());

	if (IS_ERR(view))
		return;
	set_size(view);
	free_view(view);
}

/*
 * Where distributions find /proc/vmcore, they take it that this is a crash kernel:
 * they save the file and reboot. A second kernel that is a whole system has to do
 * without that name.
 */
static bool only_own_name __initdata;

static int __init parse_vmcore(char *arg)
{
	only_own_name = arg && !strcmp(arg, "own");
	if (!only_own_name)
		pr_warn("kexec_jump_vmcore=%s is not known\n", arg);
	return 0;
}
early_param("kexec_jump_vmcore", parse_vmcore);

static int __init kexec_jump_vmcore_init(void)
{
	/* With headers of its own this is the crash kernel of a jumped-to one. */
	if (!kexec_jump_preserved_now() || is_kdump_kernel())
		return 0;
	entries[0] = proc_create("kexec_jump_vmcore", 0400, NULL, &vmcore_ops);
	if (!only_own_name)
		entries[1] = proc_create("vmcore", 0400, NULL, &vmcore_ops);
	set_first_size();
	return 0;
}
fs_initcall(kexec_jump_vmcore_init);
