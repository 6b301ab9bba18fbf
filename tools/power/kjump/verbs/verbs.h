/* SPDX-License-Identifier: GPL-2.0 */
/* One file for each; argv[0] is the verb. */
#ifndef KJUMP_VERBS_H
#define KJUMP_VERBS_H

int verb_load(int argc, char **argv);
int verb_unload(int argc, char **argv);
int verb_switch(int argc, char **argv);
int verb_back(int argc, char **argv);
int verb_serve(int argc, char **argv);
int verb_save(int argc, char **argv);
int verb_hibernate(int argc, char **argv);
int verb_restore(int argc, char **argv);
int verb_snapshot(int argc, char **argv);
int verb_extract(int argc, char **argv);
int verb_call(int argc, char **argv);
int verb_status(int argc, char **argv);
int verb_setup(int argc, char **argv);

#endif
