-- The journal's role and database, once, as a superuser: psql --file voxtree.sql, and then \password voxtree
-- voxtree makes its tables itself, and brings them up to date when it connects. Each worker holds one connection.

CREATE ROLE voxtree LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
CREATE DATABASE voxtree OWNER voxtree ENCODING 'UTF8' TEMPLATE template0;
-- What was said is in there: nobody else.
REVOKE CONNECT, TEMPORARY ON DATABASE voxtree FROM PUBLIC;
