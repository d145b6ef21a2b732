"""The release phase: bring the database to the newest migration, all of them or none."""

import sys
from contextlib import closing

from database import MIGRATIONS, connect, version


def main() -> None:
    with closing(connect()) as database:
        database.isolation_level = None  # begin and commit are ours
        database.execute("begin immediate")
        try:
            done = version(database)
            for number, path in enumerate(MIGRATIONS[done:], done + 1):
                print(f"migrating to {path.stem}", flush=True)
                for statement in path.read_text().split(";"):
                    database.execute(statement)
                database.execute(f"pragma user_version = {number}")
        except BaseException:
            database.execute("rollback")
            raise
        database.execute("commit")
    print(f"the database is at migration {len(MIGRATIONS)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
