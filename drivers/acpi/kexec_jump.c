// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: what another kernel does to ACPI hardware is undone.
 *
 * It may have no driver for the power button or the lid, and leave the events that
 * tell of them disabled, or change the memory that firmware wants kept (NVS).
 */
#define pr_fmt(fmt) "kexec_jump: " fmt

#include <linux/acpi.h>
#include <linux/bitmap.h>
#include <linux/kexec_jump.h>

#include "internal.h"

/* Fixed events that were enabled. Under the kexec lock. */
static DECLARE_BITMAP(enabled, ACPI_NUM_FIXED_EVENTS);

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
	error = suspend_nvs_alloc();
	if (error)
		return error;
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
	acpi_enable_all_runtime_gpes();
	suspend_nvs_free();
}
