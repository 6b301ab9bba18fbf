// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: what another kernel does to ACPI hardware is undone.
 *
 * It may have no driver for the power button or the lid, and leave the events that
 * tell of them disabled, or change the memory that firmware wants kept (NVS).
 *
 * Tables are run and read in place for as long as the kernel lives. A machine from
 * which a device was taken has others there: a kernel that is resumed puts its own
 * back. Where they lie is no memory of any kernel's.
 */
#define pr_fmt(fmt) "kexec_jump: " fmt

#include <linux/acpi.h>
#include <linux/bitmap.h>
#include <linux/kexec_jump.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "internal.h"
#include "sleep.h"

/* Fixed events that were enabled. Under the kexec lock. */
static DECLARE_BITMAP(enabled, ACPI_NUM_FIXED_EVENTS);

/**
 * struct kept_table - what is in a table
 * @list:	in the list of all
 * @table:	where it is mapped
 * @length:	bytes of it
 * @content:	copy of it
 */
struct kept_table {
	struct list_head list;
	struct acpi_table_header *table;
	u32 length;
	u8 content[];
};

/* Under the kexec lock. */
static LIST_HEAD(kept_tables);

static void free_tables(void)
{
	struct kept_table *kept, *next;

	list_for_each_entry_safe(kept, next, &kept_tables, list) {
		acpi_put_table(kept->table);
		list_del(&kept->list);
		kvfree(kept);
	}
}

static int keep_table(struct acpi_table_header *table)
{
	struct kept_table *kept = kvmalloc(struct_size(kept, content, table->length), GFP_KERNEL);

	if (!kept)
		return -ENOMEM;
	kept->table = table;
	kept->length = table->length;
	memcpy(kept->content, table, table->length);
	list_add(&kept->list, &kept_tables);
	return 0;
}

/* All but the FACS: firmware writes to that. */
static int keep_tables(void)
{
	struct acpi_table_header *table;
	acpi_status status;
	u32 i;

	for (i = 0;; i++) {
		status = acpi_get_table_by_index(i, &table);
		if (status == AE_BAD_PARAMETER)
			return 0;
		if (ACPI_FAILURE(status))
			continue;
		if (ACPI_COMPARE_NAMESEG(table->signature, ACPI_SIG_FACS)) {
			acpi_put_table(table);
		} else if (keep_table(table)) {
			acpi_put_table(table);
			free_tables();
			return -ENOMEM;
		}
	}
}

/**
 * kexec_jump_acpi_resumed - put this kernel's tables where it left them
 *
 * On the boot CPU, the only one at work, with interrupts off, directly after this
 * kernel was resumed from an image: nothing of ACPI has run yet.
 */
void kexec_jump_acpi_resumed(void)
{
	struct kept_table *kept;

	list_for_each_entry(kept, &kept_tables, list) {
		if (!memcmp(kept->table, kept->content, kept->length))
			continue;
		memcpy(kept->table, kept->content, kept->length);
		if (memcmp(kept->table, kept->content, kept->length))
			pr_err("ACPI table %.4s is another one here\n", kept->content);
	}
}

/**
 * kexec_jump_acpi_enter - keep what another kernel may change
 *
 * Process context, devices suspended, all CPUs online.
 *
 * Return: 0 or -ENOMEM; then everything is as before.
 */
int kexec_jump_acpi_enter(void)
{
	acpi_event_status status;
	unsigned int event;
	int error;

	if (acpi_disabled)
		return 0;
	error = keep_tables();
	if (error)
		return error;
	error = suspend_nvs_alloc();
	if (error) {
		free_tables();
		return error;
	}
	acpi_disable_all_gpes();
	acpi_os_wait_events_complete();
	acpi_ec_block_transactions();
	bitmap_zero(enabled, ACPI_NUM_FIXED_EVENTS);
	for (event = 0; event < ACPI_NUM_FIXED_EVENTS; event++)
		if (ACPI_SUCCESS(acpi_get_event_status(event, &status)) &&
		    (status & ACPI_EVENT_FLAG_ENABLE_SET))
			__set_bit(event, enabled);
	error = suspend_nvs_save();
	if (error)
		kexec_jump_acpi_leave(false);
	return error;
}

/**
 * kexec_jump_acpi_leave - undo kexec_jump_acpi_enter()
 * @jumped:	another kernel has run in the meantime
 *
 * Process context, devices suspended, all CPUs online.
 */
void kexec_jump_acpi_leave(bool jumped)
{
	unsigned int event;

	if (acpi_disabled)
		return;
	if (jumped) {
		acpi_enable();
		suspend_nvs_restore();
		for_each_set_bit(event, enabled, ACPI_NUM_FIXED_EVENTS)
			if (ACPI_FAILURE(acpi_enable_event(event, 0)))
				pr_warn("ACPI event %u cannot be enabled again\n", event);
	}
	acpi_ec_unblock_transactions();
	/* The other kernel, or firmware, may have left them off. Some are asked through the EC. */
	if (jumped)
		acpi_resume_power_resources();
	acpi_enable_all_runtime_gpes();
	suspend_nvs_free();
	free_tables();
}
