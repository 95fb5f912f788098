/* A variable of each thread's own, 48 bytes, in a module that is opened at run time. */
static __thread long own[6];

__attribute__((visibility("default"))) void touch(void);
void touch(void)
{
    own[0]++;
}
