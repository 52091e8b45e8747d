-- Incidents are derived anew from the orders that are stuck; what was not told yet is told by nobody.
DROP TABLE notices;
DROP TABLE incidents;
